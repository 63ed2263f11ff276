"""What holds for every monitor in the list and for a toy, whatever it measures."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_equal

from monitors.estimation.fitted import FittedEstimation, fit_estimation
from monitors.estimation.predictions import Predictions
from monitors.finding import Finding
from monitors.monitor import Monitor, Needs, SaysWhatItWatches
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from serving.config import ModelConfig
from serving.models.consumers import DATA_QUALITY, DRIFT, ESTIMATION, FAIRNESS, PERFORMANCE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.listed import MONITORS

MOST_ROWS = 1200
"""Within so many rows every monitor here has judged a window."""
USUAL: dict[str, Any] = {
    "drift": {"window": 100},
    "quality": {"window": 100},
    "performance": {"min": 0.4},
    "estimation": {"every_s": 0},
    "guard_rate": {"window": 100},
}
LIVE: dict[str, Any] = {
    "drift": {"reference": "live", "reference_rows": 100, "window": 50},
    "quality": {"window": 50},
}
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    DRIFT: (USUAL, LIVE),
    DATA_QUALITY: (USUAL, LIVE),
    ESTIMATION: (
        USUAL,
        {"performance": {"metric": "mae", "max": 0.7}, "estimation": {"every_s": 0}},
    ),
    FAIRNESS: (USUAL, {"performance": {"metric": "rmse", "max": 0.7}}),
    PERFORMANCE: (
        USUAL,
        {"performance": {"metric": "rmse", "max": 0.7}},
        {"performance": {"thresholds": {"auroc": 0.4, "log_loss": 2.0, "f1": 0.3}}},
    ),
}
"""Configurations of `monitors` that give monitors of different kinds."""
CLASSES = {"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}
OF_NUMBERS = {"sensitive": ["group"], "window": 100, "tolerance": {"mae_ratio": 0.8}}
NUMBER = {"name": "y", "datatype": "FP32", "shape": [-1]}
CASES = [
    pytest.param((name, monitors), id=f"{name}{number or ''}")
    for name in (*(each.name for each in MONITORS), "toy")
    for number, monitors in enumerate(VARIANTS.get(name, (USUAL,)))
]

Make = Callable[[], Monitor]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    name, monitors = request.param
    return name, monitors


@pytest.fixture
def make(case: tuple[str, dict[str, Any]], tmp_path: Path, toy: ModuleType) -> Make:
    """Builds what the list builds for a model that wants everything."""
    name, monitors = case
    fairness = {
        "sensitive": ["group"], "favorable": "yes", "window": 100,
        "tolerance": {"calibration_difference": 0.1},
    }  # fmt: skip
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "kind", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [NUMBER if _of_numbers(monitors) else CLASSES],
        "monitors": monitors,
        "guards": [{"name": "schema"}, {"name": "mahalanobis"}],
        "fairness": OF_NUMBERS if _of_numbers(monitors) else fairness,
    })  # fmt: skip
    (tmp_path / "profile").mkdir()
    profile = ReferenceProfile.fit(dict(batch(500, seed=99).columns))
    (tmp_path / "profile" / "drift.json").write_bytes(msgspec.json.encode(profile.to_dict()))
    estimation = fitted(numbers=_of_numbers(monitors)).to_arrays()
    np.savez(tmp_path / "profile" / "estimation.npz", **estimation)
    entry = ModelEntry("loans", "1", tmp_path, config)
    (descriptor,) = (each for each in (*MONITORS, toy.DESCRIPTOR) if each.name == name)
    assert descriptor.wanted(config)

    def build() -> Monitor:
        built = descriptor.build(entry)
        assert built.monitor is not None, built.blind
        return built.monitor

    return build


def _of_numbers(monitors: dict[str, Any]) -> bool:
    return "metric" in monitors.get("performance", {})


@functools.cache
def fitted(*, numbers: bool) -> FittedEstimation:
    """What a profile of 1,000 labelled rows knows."""
    rows = batch(1000, seed=98, labels=True)
    given = Predictions(
        features={}, scores=None if numbers else rows.scores, predicted=rows.predicted
    )
    return fit_estimation(rows.columns, given, rows.labels, None, 1000)


def batch(n: int, seed: int, timestamp: float = 1000.0, *, labels: bool = False) -> Rows:
    """Rows with everything that a monitor may need."""
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 2)).astype(np.float32)
    scores /= scores.sum(axis=1, keepdims=True)
    kinds, groups = np.empty(n, dtype=object), np.empty(n, dtype=object)
    kinds[:] = [[b"red", b"blue"][at] for at in rng.integers(0, 2, n)]
    groups[:] = [["a", "b", None][at] for at in rng.integers(0, 3, n)]
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return Rows(
        n=n,
        timestamp=timestamp,
        columns={"x[0]": x[:, 0], "x[1]": x[:, 1], "kind": kinds},
        outputs={"y": scores},
        groups={"group": groups},
        scores=scores.astype(np.float64),
        predicted=scores.argmax(axis=1).astype(np.int64),
        labels=rng.integers(0, 2, n) if labels else None,
        request_ids=[f"r{seed}-{at}" for at in range(n)],
        row_index=np.zeros(n, dtype=np.int64),
        guards={
            name: (rng.random(n) < 0.05).astype(np.uint8) for name in ("schema", "mahalanobis")
        },
    )


def rows_for(monitor: Monitor, n: int, seed: int, timestamp: float = 1000.0) -> Rows:
    return batch(n, seed, timestamp, labels=monitor.needs.labels)


def test_says_what_it_needs_once_and_for_all(make):
    monitor = make()
    needs = monitor.needs
    assert isinstance(needs, Needs)
    assert needs.takes_predictions or needs.takes_labelled or needs.guards
    monitor.update(rows_for(monitor, 300, seed=1), now=0.0)
    assert monitor.needs == needs == make().needs


def test_says_what_it_watches_before_and_after_its_first_window(make, case):
    monitor = make()
    if case[0] == "toy":
        assert not isinstance(monitor, SaysWhatItWatches)
        return
    assert isinstance(monitor, SaysWhatItWatches)
    monitor.watched(0.0)
    found = monitor.update(rows_for(monitor, MOST_ROWS, seed=1), now=2000.0)
    told = monitor.watched(3000.0)
    assert told.window == monitor.filled[1]
    assert told.reference
    named = {each.metric for each in told.items}
    # What is counted over columns, and the gap that goes with each PSI, are of the same streams.
    derived = {"drifted_features", "drifted_outputs", "ks"}
    assert {each.metric for each in found} - derived <= named
    for each in told.items:
        assert each.not_judged or each.basis
        assert all(size > 0 for size in each.sees.values())


def test_only_what_it_needs_has_to_be_there(make):
    monitor, frugal = make(), make()
    rows = rows_for(monitor, MOST_ROWS, seed=1)
    needs = monitor.needs
    lean = Rows(
        n=rows.n,
        timestamp=rows.timestamp,
        columns=rows.columns if needs.columns else {},
        outputs=rows.outputs if needs.outputs else {},
        groups={name: rows.groups[name] for name in needs.groups},
        predicted=rows.predicted if needs.predicted else None,
        labels=rows.labels if needs.labels else None,
        scores=rows.scores if needs.scores else None,
        guards=rows.guards if needs.guards else {},
    )
    assert repr(frugal.update(lean, now=0.0)) == repr(monitor.update(rows, now=0.0))


def test_finds_something_when_a_window_is_full_and_not_before(make):
    monitor = make()
    rows, size = monitor.filled
    assert (rows, monitor.update(rows_for(monitor, size - 1, seed=1), now=0.0)) == (0, [])
    assert monitor.update(rows_for(monitor, MOST_ROWS, seed=2), now=0.0)


def test_too_few_rows_are_no_verdict(make):
    monitor = make()
    for seed in range(monitor.filled[1] - 1):
        found = monitor.update(rows_for(monitor, 1, seed), now=0.0)
        assert all(each.breached is None for each in found)


def test_findings_do_not_depend_on_how_rows_are_batched(make):
    in_one, in_parts = make(), make()
    whole = rows_for(in_one, MOST_ROWS, seed=3)
    parts: list[Finding] = []
    start = 0
    while start < MOST_ROWS:
        stop = start + 1 + start % 37
        parts += in_parts.update(whole.part(slice(start, stop)), now=0.0)
        start = stop
    assert repr([*in_one.update(whole, now=0.0)]) == repr(parts)
    assert in_one.filled == in_parts.filled


def test_is_deterministic_and_knows_no_clock_but_the_one_it_is_told(make):
    one, two = make(), make()
    for seed in range(30):
        first = one.update(rows_for(one, 33, seed), now=5.0)
        second = two.update(rows_for(two, 33, seed), now=5.0)
        assert repr(first) == repr(second)
    assert one.state() == two.state()


def test_does_not_write_to_rows(make):
    monitor = make()
    rows = rows_for(monitor, MOST_ROWS, seed=4)
    before = copy.deepcopy(rows)
    for array in (*rows.columns.values(), *rows.outputs.values(), *rows.groups.values()):
        array.flags.writeable = False
    for array in (rows.predicted, rows.labels, rows.scores):
        if array is not None:
            array.flags.writeable = False
    monitor.update(rows, now=0.0)
    for name in ("columns", "outputs", "groups", "predicted", "labels", "request_ids"):
        assert_equal(getattr(rows, name), getattr(before, name))


@pytest.mark.parametrize("broken", [0, 10])
def test_a_batch_without_rows_changes_nothing(make, broken):
    for rows_before in (10, 300):
        monitor = make()
        rows = rows_for(monitor, rows_before, seed=5)
        rows.outputs["y"][-broken:] = np.nan if broken else rows.outputs["y"]
        monitor.update(rows, now=0.0)
        before = copy.deepcopy(monitor.state())
        assert list(monitor.update(rows_for(monitor, 0, seed=6, timestamp=9e9), now=0.0)) == []
        assert monitor.state() == before


def test_single_rows_add_up(make):
    one, whole = make(), make()
    rows = rows_for(whole, 23, seed=7)
    for at in range(23):
        one.update(rows.part(slice(at, at + 1)), now=0.0)
    whole.update(rows, now=0.0)
    assert one.state() == whole.state()


@pytest.mark.parametrize("broken", [1, 30, MOST_ROWS])
def test_values_that_are_no_numbers_are_taken(make, broken):
    monitor = make()
    rows = rows_for(monitor, MOST_ROWS, seed=8)
    for array in (rows.columns["x[0]"], rows.columns["x[1]"], rows.outputs["y"]):
        array[:broken] = np.nan
    rows.columns["kind"][:broken] = b""
    rows.predicted[:broken] = -1
    rows.groups["group"][:broken] = None
    found = monitor.update(rows, now=0.0)
    assert found
    json.dumps(monitor.state(), allow_nan=False)


def test_goes_on_after_a_restart_in_the_middle_of_a_window(make):
    steady, stopped = make(), make()
    last: list[Finding] = []
    for seed in range(30):
        rows = rows_for(steady, 37, seed, timestamp=float(seed))
        found = steady.update(rows, now=0.0)
        assert repr(found) == repr(stopped.update(rows, now=0.0))
        last = [*found] or last
        saved = json.dumps(stopped.state(), allow_nan=False)
        again = make()
        kept = again.restore(json.loads(saved))
        # While a reference is collected no row of it is saved.
        if json.dumps(again.state()) == json.dumps(make().state()):
            continue
        stopped = again
        assert stopped.state() == steady.state()
        assert stopped.filled == steady.filled
        assert repr([*kept]) in (repr(last), repr([]))
    assert last


def test_a_state_that_lacks_something_is_refused_as_a_whole(make):
    monitor = make()
    monitor.update(rows_for(monitor, 330, seed=9), now=0.0)
    saved = json.loads(json.dumps(monitor.state()))
    fresh = make().state()
    for missing in saved:
        other = make()
        with pytest.raises((ValueError, KeyError, TypeError)):
            other.restore({name: value for name, value in saved.items() if name != missing})
        assert other.state() == fresh


def test_the_clock_alone_judges_no_rows(make):
    monitor, ticked = make(), make()
    for now in (0.0, 1e6, 1e9):
        assert all(found.breached is None for found in ticked.tick(now))
    assert ticked.state() == monitor.state()
    for seed in range(15):
        rows = rows_for(monitor, 80, seed)
        assert repr(monitor.update(rows, now=1000.0)) == repr(ticked.update(rows, now=1000.0))
        ticked.tick(1000.0 + seed)
    assert ticked.state() == monitor.state()


def test_labels_do_not_move_windows_of_predictions(make):
    monitor = make()
    if monitor.needs.labels or not monitor.needs.takes_labelled:
        return
    monitor.update(rows_for(monitor, 30, seed=10), now=0.0)
    before = monitor.filled
    monitor.update(batch(500, seed=11, labels=True), now=0.0)
    assert monitor.filled == before


def test_findings_say_when_how_much_and_about_what(make, case):
    monitor = make()
    first = monitor.update(rows_for(monitor, MOST_ROWS // 2, seed=12, timestamp=20.0), now=30.0)
    second = monitor.update(rows_for(monitor, MOST_ROWS // 2, seed=13, timestamp=10.0), now=30.0)
    windows: dict[str, tuple[float, float]] = {}
    for finding in (*first, *second):
        assert finding.monitor == case[0]
        assert 10.0 <= finding.window[0] <= finding.window[1] <= 20.0
        assert 0 <= finding.n_current <= MOST_ROWS
        assert finding.n_current or finding.reason
        assert finding.direction in ("above", "below")
        assert finding.severity in ("info", "ticket", "page")
        judged = finding.threshold is not None or finding.p_value is not None
        assert finding.breached is None or judged
        assert bool(finding.reason) or finding.breached is not None or not judged
        assert (finding.model, finding.version) == ("", "")
        assert math.isnan(finding.value) or finding.ci is None or finding.ci[0] <= finding.ci[1]
        assert windows.setdefault(finding.window_id, finding.window) == finding.window
    assert len(windows) > 1
    assert "" not in windows


def test_the_span_of_a_window_is_that_of_its_rows(make):
    monitor = make()
    monitor.update(rows_for(monitor, MOST_ROWS, seed=14, timestamp=0.0), now=30.0)
    rows, size = monitor.filled
    monitor.update(rows_for(monitor, size - rows, seed=15, timestamp=0.0), now=30.0)
    most = rows_for(monitor, size - 5, seed=16, timestamp=20.0)
    assert list(monitor.update(most, now=30.0)) == []
    found = monitor.update(rows_for(monitor, 5, seed=17, timestamp=10.0), now=30.0)
    assert {each.window for each in found} == {(10.0, 20.0)}
