"""Monitors of one version beside each other: each is built, fed and restored by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from monitors.monitor import Needs
from monitors.rows import Rows
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.monitoring.check_time import CheckTime
from serving.monitoring.finding_series import FindingSeries
from serving.monitoring.judges.descriptor import Blind, Built, MonitorDescriptor
from serving.monitoring.judges.monitor_set import MonitorSet
from serving.telemetry.counters import SeriesSet


@pytest.fixture
def make(tmp_path: Path):
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    })  # fmt: skip
    entry = ModelEntry("loans", "2", tmp_path, config)

    def make_set(*descriptors: MonitorDescriptor) -> MonitorSet:
        series = FindingSeries(SeriesSet(), "loans", "2")
        time = CheckTime(SeriesSet(), "loans", "2")
        return MonitorSet(entry, "model 'loans'", series, time, descriptors)

    return make_set


@pytest.fixture
def recording(toy: ModuleType):
    """Makes descriptors of monitors that remember which rows they were shown."""

    def make_descriptor(name: str, **needs: Any) -> tuple[MonitorDescriptor, list[Rows]]:
        shown: list[Rows] = []

        class Recording(toy.ToyMonitor):
            def update(self, rows: Rows, now: float) -> list[Any]:
                shown.append(rows)
                return super().update(rows, now)

        Recording.needs = Needs(**needs)
        return replace(toy.DESCRIPTOR, name=name, build=lambda _: Built(Recording())), shown

    return make_descriptor


def predictions(n: int = 1) -> Rows:
    return Rows(n=n, timestamp=5.0, predicted=np.zeros(n, np.int64))


def labelled(n: int = 1) -> Rows:
    return replace(predictions(n), labels=np.ones(n, np.int64))


def test_each_is_shown_the_rows_that_it_needs(make, recording):
    wanted = {
        "outputs": ({"outputs": True}, [False]),
        "labels": ({"labels": True}, [True]),
        "groups": ({"groups": ("sex",)}, [False, True]),
    }
    made = {name: recording(name, **needs) for name, (needs, _) in wanted.items()}
    monitors = make(*(descriptor for descriptor, _ in made.values()))
    monitors.predicted(predictions(), now=6.0)
    monitors.labelled(labelled(), now=6.0)
    for name, (_, kinds) in wanted.items():
        assert [rows.labels is not None for rows in made[name][1]] == kinds


def test_without_a_class_only_those_who_need_one_miss_the_batch(make, recording):
    (with_class, classes), (without, others) = (
        recording("class", predicted=True),
        recording("other", outputs=True),
    )
    monitors = make(with_class, without)
    monitors.predicted(predictions(), now=6.0, no_class=ValueError("no class"))
    assert (len(classes), len(others)) == (0, 1)
    assert monitors.not_judged[-1] == "class of model 'loans' failed: ValueError"
    monitors.predicted(predictions(), now=6.0)
    assert (len(classes), len(others)) == (1, 2)
    assert not any("failed" in told for told in monitors.not_judged)


def test_what_is_not_watched_is_told(make, toy):
    none = replace(
        toy.DESCRIPTOR, name="none", build=lambda _: Built(None, (Blind("it has no eyes"),))
    )
    part = replace(
        toy.DESCRIPTOR,
        name="part",
        title="half",
        build=lambda _: Built(toy.ToyMonitor(), (Blind("one eye is shut", in_part=True),)),
    )
    unwanted = replace(toy.DESCRIPTOR, name="off", wanted=lambda _: False, unwanted="it is off")
    silent = replace(unwanted, unwanted="")
    monitors = make(none, part, unwanted, silent)
    assert [judge.name for judge in monitors.judges] == ["part"]
    assert monitors.not_judged == [
        "none of model 'loans' is not watched: it has no eyes",
        "half of model 'loans' is not watched in part: one eye is shut",
        "off of model 'loans' is not watched: it is off",
        "half of model 'loans': no verdict yet, 0 of 10 rows",
    ]


def test_one_that_cannot_be_set_up_leaves_the_others(make, toy):
    def fail(_: ModelEntry) -> Built:
        raise OSError("a path that must not be told")

    monitors = make(replace(toy.DESCRIPTOR, name="bad", build=fail), toy.DESCRIPTOR)
    assert [judge.name for judge in monitors.judges] == ["toy"]
    assert monitors.not_judged[-1] == "bad of model 'loans' failed: OSError"


def test_findings_bear_the_name_of_what_was_judged(make, toy):
    monitors = make(toy.DESCRIPTOR)
    monitors.predicted(predictions(10), now=6.0)
    (found,) = monitors.findings(6.0)
    assert (found.model, found.version, found.monitor) == ("loans", "2", "toy")


@pytest.mark.parametrize(
    "damage", [{}, {"windows": 1}, {"windows": 1, "last": 0, "window": "none"}, None, []]
)
def test_one_whose_state_is_none_begins_anew_and_the_others_go_on(make, toy, damage):
    other = replace(toy.DESCRIPTOR, name="other")
    monitors = make(toy.DESCRIPTOR, other)
    monitors.predicted(predictions(7), now=6.0)
    saved = json.loads(json.dumps(monitors.state()))
    again = make(toy.DESCRIPTOR, other)
    again.restore({**saved, "toy": damage})
    assert [judge.monitor.filled[0] for judge in again.judges] == [0, 7]
    assert again.not_judged[0].startswith("toy of model 'loans' began anew: ")
    assert again.had_rows


def test_none_of_them_may_learn_its_reference(make, toy):
    monitors = make(toy.DESCRIPTOR)
    assert (monitors.reset_reference(), monitors.references) == ("", [])
