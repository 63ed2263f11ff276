from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings
from monitors.drift.live_drift import LiveDriftMonitor
from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.rows import Rows
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built, MonitorDescriptor
from serving.monitoring.judges.judge import Judge


def judge(monitor, title=""):
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    })  # fmt: skip
    entry = ModelEntry("loans", "2", Path("/nowhere"), config)
    descriptor = MonitorDescriptor(
        name="mine", wanted=lambda _: True, build=lambda _: Built(monitor), title=title
    )
    return Judge(descriptor, monitor, entry)


def performance(**thresholds):
    counts = ClassCounts(2, 1, scored=False)
    return LabelledPerformanceMonitor(counts, class_metrics(counts), thresholds, window=10)


def answered(n, timestamp=0.0):
    return Rows(
        n=n,
        timestamp=timestamp,
        columns={"x": np.arange(float(n))},
        predicted=np.ones(n, np.int64),
        labels=np.ones(n, np.int64),
    )


@pytest.mark.parametrize(("title", "called"), [("", "mine"), ("accuracy", "accuracy")])
def test_it_says_how_full_its_window_is_until_it_has_found_something(title, called):
    made = judge(performance(), title)
    assert made.fed_by == "labels"
    made.monitor.update(answered(7), now=0.0)
    expected = f"{called} of it: no verdict yet, 7 of 10 labelled rows"
    assert made.not_judged("it") == expected
    made.take(made.monitor.update(answered(3), now=0.0))
    assert made.not_judged("it") == ""
    assert {(one.model, one.version) for one in made.latest} == {("loans", "2")}


def test_one_that_learns_its_reference_says_how_far_it_is():
    settings = DriftSettings(window=50)
    made = judge(LiveDriftMonitor(100, lambda of: DistributionDriftMonitor(of, settings)))
    assert made.fed_by == "rows"
    assert made.not_judged("it") == "mine of it: collecting reference: 0 of 100 rows"
    made.monitor.update(answered(120), now=0.0)
    assert made.not_judged("it") == "mine of it: no verdict yet, 20 of 50 rows"
    made.take(made.monitor.update(answered(40), now=0.0))
    assert made.latest
    made.reset_reference()
    assert made.not_judged("it") == "mine of it: collecting reference: 0 of 100 rows"


def test_what_is_restored_bears_the_name_of_the_version():
    made, again = (judge(performance(accuracy=0.5)) for _ in range(2))
    made.take(made.monitor.update(answered(13), now=0.0))
    assert again.restore(made.monitor.state()) == made.latest
    assert again.latest == made.latest


def test_what_it_waits_for_does_not_change_with_each_row():
    made = judge(performance())
    assert made.waits_for == "no window of labelled rows is full yet"
    made.monitor.update(answered(7), now=0.0)
    assert made.waits_for == "no window of labelled rows is full yet"
    made.take(made.monitor.update(answered(3), now=0.0))
    assert made.waits_for == ""
    learning = judge(LiveDriftMonitor(100, lambda _reference: performance()))
    assert learning.waits_for == "its reference is being collected"


def wrong(n):
    return replace(answered(n), labels=np.zeros(n, np.int64))


def test_breaches_of_windows_that_others_follow_are_given_once():
    made = judge(performance(accuracy=0.999))
    for rows in (wrong(10), wrong(10), answered(10)):
        made.take(made.monitor.update(rows, now=0.0))
    [passed] = made.take_passed()
    assert (passed.breached, passed.model, passed.value) == (True, "loans", 0.0)
    assert made.latest[0].breached is False
    assert made.take_passed() == []
    # The latest one is told anyway.
    made.take(made.monitor.update(wrong(10), now=0.0))
    assert made.take_passed() == []


def test_many_windows_at_once_are_no_reason_to_miss_a_breach():
    made = judge(performance(accuracy=0.999))
    labels = np.array([0] * 10 + [1] * 40)
    made.take(made.monitor.update(replace(answered(50), labels=labels), now=0.0))
    assert made.latest[0].breached is False
    assert [each.value for each in made.take_passed()] == [0.0]
