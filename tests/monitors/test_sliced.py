"""Slices beside all rows: each judged by a monitor of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monitors.drift.live_drift import LiveDriftMonitor
from monitors.finding import Finding
from monitors.monitor import JudgesLabelsToo, LearnsReference, RevisesLabels, SaysWhatItWatches
from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.rows import Corrections, Rows
from monitors.sliced import INSIDE, OUTSIDE, PREFIX, sliced

OLD = "age > 60"


def performance() -> LabelledPerformanceMonitor:
    counts = ClassCounts(2, 1, scored=False)
    return LabelledPerformanceMonitor(counts, class_metrics(counts), {"accuracy": 0.7}, 50, 0.5)


def labelled(n: int, at: int, wrong_inside: bool, label: int = 1) -> Rows:
    inside = np.arange(n) % 4 == 0
    told = np.empty(n, object)
    told[:] = np.where(inside, INSIDE, OUTSIDE)
    told[1] = None
    predicted = np.where(inside & wrong_inside, 1 - label, label).astype(np.int64)
    return Rows(
        n=n, timestamp=float(at), predicted=predicted, labels=np.full(n, label),
        request_groups={PREFIX + OLD: told}, positions=np.arange(at * n, (at + 1) * n),
    )  # fmt: skip


def accuracy(found: list[Finding]) -> dict[str, Finding]:
    return {each.segment: each for each in found if each.metric == "accuracy"}


def test_a_slice_that_is_wrong_is_found_and_all_rows_are_fine():
    monitor = sliced(performance(), {OLD: performance()})
    last: dict[str, Finding] = {}
    for at in range(40):
        last |= accuracy(list(monitor.update(labelled(40, at, wrong_inside=True), 0.0)))
    assert last[""].breached is False
    assert last[OLD].breached is True
    assert last[OLD].value == 0.0
    assert last[""].value == pytest.approx(0.75, abs=0.03)
    assert last[OLD].n_current % 10 == 0  # none of the others


def test_labels_that_are_replaced_are_counted_in_their_slice():
    monitor = sliced(performance(), {OLD: performance()})
    assert isinstance(monitor, RevisesLabels)
    assert not isinstance(monitor, LearnsReference | JudgesLabelsToo)
    for at in range(5):
        monitor.update(labelled(40, at, wrong_inside=True), 0.0)
    rows = labelled(40, 0, wrong_inside=True)
    inside = rows.request_groups[PREFIX + OLD] == INSIDE
    now = Rows(
        n=40, timestamp=9.0, predicted=rows.predicted, labels=np.where(inside, 0, 1),
        request_groups=rows.request_groups, positions=rows.positions,
    )  # fmt: skip
    assert rows.labels is not None
    found = accuracy(list(monitor.revise(Corrections(rows=now, labels=rows.labels), 9.0)))
    assert found[OLD].value == 0.2  # 10 of 50
    assert found[OLD].revised == 10


def test_it_goes_on_after_a_restart_and_a_new_slice_begins_anew():
    monitor = sliced(performance(), {OLD: performance()})
    for at in range(10):
        monitor.update(labelled(40, at, wrong_inside=True), 0.0)
    saved = json.loads(json.dumps(monitor.state()))
    again = sliced(performance(), {OLD: performance(), "age < 20": performance()})
    assert {each.segment for each in again.restore(saved)} == {"", OLD}
    rows = labelled(40, 10, wrong_inside=True)
    assert repr(again.update(rows, 0.0)) == repr(monitor.update(rows, 0.0))
    without = performance()
    assert without.restore(saved)


def test_a_state_of_before_slices_is_taken_for_all_rows():
    plain = performance()
    for at in range(3):
        plain.update(labelled(40, at, wrong_inside=False), 0.0)
    monitor = sliced(performance(), {OLD: performance()})
    assert {each.segment for each in monitor.restore(plain.state())} == {""}


def test_without_slices_it_is_the_monitor_itself():
    monitor = performance()
    assert sliced(monitor, {}) is monitor


def live() -> LiveDriftMonitor:
    from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings

    settings = DriftSettings(window=100, rate=3.0)
    return LiveDriftMonitor(
        400, lambda reference: DistributionDriftMonitor(reference, settings), window=100
    )


def test_a_drift_of_a_slice_is_found_there_and_references_are_learnt_and_reset_together():
    monitor = sliced(live(), {OLD: live()})
    assert isinstance(monitor, LearnsReference)
    assert isinstance(monitor, SaysWhatItWatches)
    rng, segments = np.random.default_rng(0), set()
    for at in range(60):
        inside = rng.random(200) < 0.2
        told = np.empty(200, object)
        told[:] = np.where(inside, INSIDE, OUTSIDE)
        x = rng.normal(size=200) + np.where(inside & (at >= 40), 4.0, 0.0)
        rows = Rows(
            n=200, timestamp=at * 600.0, columns={"x": x}, groups={PREFIX + OLD: told},
            request_ids=[f"r{i}" for i in range(200)], row_index=np.zeros(200, int),
        )  # fmt: skip
        segments |= {
            each.segment for each in monitor.update(rows, 0.0)
            if each.breached and each.subject == "x"
        }  # fmt: skip
    assert OLD in segments
    told = monitor.watched(0.0)
    assert {each.segment for each in told.items} == {"", OLD}
    assert told.false_alarms == 6.0
    assert told.streams == len(told.items)
    monitor.reset()
    assert not monitor.ready
    assert monitor.watched(0.0).not_watched[1].startswith("slice 'age > 60': nothing yet")


@pytest.mark.parametrize("labels", [None, np.zeros(2)])
def test_rows_that_do_not_say_are_in_no_slice(labels):
    shown: list[int] = []

    class Part:
        def update(self, rows, now):
            shown.append(rows.n)
            return []

    class Whole(Part):
        needs = None

    monitor = sliced(Whole(), {OLD: Part()})  # type: ignore[arg-type]
    monitor.update(Rows(n=2, timestamp=0.0, labels=labels), 0.0)
    assert shown == [2]
