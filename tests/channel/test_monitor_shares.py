"""Every process finds the same monitor for a model, and more monitors move few models."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import pytest

from serving.channel.monitor_shares import called, monitor_ids, monitor_of, share_of

MODELS = [f"model-{number}" for number in range(1000)]


class Named(NamedTuple):
    """Has a name, as what is served."""

    name: str
    version: str


def test_a_single_one_has_the_id_that_its_files_always_had() -> None:
    assert monitor_ids(1) == ("monitor",)
    assert {monitor_of(model, 1) for model in MODELS} == {"monitor"}
    assert monitor_ids(3) == ("monitor-0", "monitor-1", "monitor-2")
    assert (called("monitor"), called("monitor-2")) == ("the monitor", "monitor-2")


@pytest.mark.parametrize("monitors", [2, 3, 8])
def test_models_are_divided_about_evenly(monitors: int) -> None:
    counts = Counter(monitor_of(model, monitors) for model in MODELS)
    assert set(counts) == set(monitor_ids(monitors))
    fair = len(MODELS) / monitors
    assert all(0.7 * fair < count < 1.3 * fair for count in counts.values())


@pytest.mark.parametrize("monitors", [2, 3, 8])
def test_one_more_takes_its_share_and_moves_nothing_else(monitors: int) -> None:
    before = {model: monitor_of(model, monitors) for model in MODELS}
    after = {model: monitor_of(model, monitors + 1) for model in MODELS}
    assert {after[model] for model in MODELS if after[model] != before[model]} == {
        f"monitor-{monitors}"
    }


def test_another_process_finds_the_same() -> None:
    """Python's own hash differs between processes."""
    code = (
        "from serving.channel.monitor_shares import monitor_of\n"
        "print(*(monitor_of(f'model-{number}', 8) for number in range(20)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [monitor_of(model, 8) for model in MODELS[:20]]


def test_what_is_on_the_disk_is_found_again_by_later_releases() -> None:
    found = [monitor_of(model, 4) for model in ("iris", "credit", "größe", "a/b")]
    assert found == ["monitor-1", "monitor-0", "monitor-3", "monitor-1"]


def test_any_text_belongs_to_one() -> None:
    assert {monitor_of(text, 2) for text in ("", "\ud800", "x" * 10_000)} <= set(monitor_ids(2))


def test_shares_are_all_models_each_once_with_all_their_versions() -> None:
    served = [Named(model, version) for model in MODELS[:50] for version in "12"]
    shares = [share_of(ident, served, 3) for ident in monitor_ids(3)]
    assert sorted(each for share in shares for each in share) == sorted(served)
    for share in shares:
        assert {each.name for each in share if each.version == "1"} == {each.name for each in share}
    assert share_of("monitor", served, 1) == tuple(served)
    assert share_of("stranger", served, 3) == ()
