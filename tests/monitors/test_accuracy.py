import json

import numpy as np
import pytest
from scipy import stats

from monitors.accuracy import AccuracyMonitor
from monitors.label_join import JoinedRow
from monitors.wilson import wilson

RIGHT, WRONG = JoinedRow(1, 1), JoinedRow(0, 1)


def test_counts_windows_of_labelled_rows():
    monitor = AccuracyMonitor(0.5, window=10, confidence=0.95)
    monitor.update([RIGHT] * 6 + [WRONG] * 3, timestamp=1)
    assert monitor.evaluate() == []
    monitor.update([RIGHT] * 11, timestamp=2)
    (first,) = [f for f in monitor.evaluate() if f.window == (1, 2)]
    assert first.value == 0.7
    assert first.ci == wilson(7, 10, 0.95)
    assert [f.value for f in monitor.evaluate()] == [0.7, 1.0]


def test_breach_only_when_chance_does_not_explain_it():
    for correct, expected in ((800, False), (880, False), (700, True)):
        monitor = AccuracyMonitor(0.9 if expected else 0.81, window=1000)
        monitor.update([RIGHT] * correct + [WRONG] * (1000 - correct), timestamp=0)
        assert monitor.evaluate()[0].breached is expected


def test_false_alarms_of_a_model_that_is_just_good_enough():
    rng = np.random.default_rng(0)
    monitor = AccuracyMonitor(0.9, window=200, false_alarm_rate=0.05)
    alarms = 0
    for _ in range(1000):
        correct = int(rng.binomial(200, 0.9))
        monitor.update([RIGHT] * correct + [WRONG] * (200 - correct), timestamp=0)
        alarms += bool(monitor.evaluate()[0].breached)
    assert alarms / 1000 <= 0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5


def test_the_verdict_is_the_exact_binomial_test():
    monitor = AccuracyMonitor(0.9, window=100)
    monitor.update([RIGHT] * 84 + [WRONG] * 16, timestamp=0)
    expected = stats.binomtest(84, 100, 0.9, alternative="less").pvalue
    assert monitor.evaluate()[0].p_value == pytest.approx(expected)


def test_goes_on_after_a_restart():
    monitor = AccuracyMonitor(0.5, window=10)
    monitor.update([RIGHT] * 13, timestamp=0)
    other = AccuracyMonitor(0.5, window=10)
    other.restore(json.loads(json.dumps(monitor.state())))
    for one in (monitor, other):
        one.update([WRONG] * 7, timestamp=1)
    assert other.evaluate() == monitor.evaluate()
    assert other.evaluate()[0].value == 0.3


def test_without_a_minimum_there_is_no_verdict():
    monitor = AccuracyMonitor(None, window=10)
    monitor.update([WRONG] * 10, timestamp=0)
    (found,) = monitor.evaluate()
    assert (found.value, found.threshold, found.breached, found.p_value) == (0, None, None, None)
    assert found.reason == "no threshold set"


def test_a_verdict_by_another_minimum_does_not_outlive_a_restart():
    monitor = AccuracyMonitor(None, window=10)
    monitor.update([WRONG] * 13, timestamp=0)
    other = AccuracyMonitor(0.9, window=10)
    other.restore(json.loads(json.dumps(monitor.state())))
    assert other.evaluate() == []
    assert other.filled == (3, 10)
    other.update([WRONG] * 7, timestamp=1)
    assert other.evaluate()[0].breached is True
