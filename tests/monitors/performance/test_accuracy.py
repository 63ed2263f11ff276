import json

import numpy as np
import pytest
from scipy import stats

from monitors.performance.accuracy import AccuracyMonitor
from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows
from monitors.statistics.wilson import wilson

RIGHT, WRONG = JoinedRow(1, 1), JoinedRow(0, 1)


def test_counts_windows_of_labelled_rows():
    monitor = AccuracyMonitor(0.5, window=10, confidence=0.95)
    assert monitor.update(joined_rows([RIGHT] * 6 + [WRONG] * 3, 1), now=1) == []
    found = monitor.update(joined_rows([RIGHT] * 11, 2), now=2)
    (first,) = [f for f in found if f.window == (1, 2)]
    assert first.value == 0.7
    assert first.ci == wilson(7, 10, 0.95)
    assert [f.value for f in found] == [0.7, 1.0]


def test_breach_only_when_chance_does_not_explain_it():
    for correct, expected in ((800, False), (880, False), (700, True)):
        monitor = AccuracyMonitor(0.9 if expected else 0.81, window=1000)
        rows = joined_rows([RIGHT] * correct + [WRONG] * (1000 - correct), 0)
        assert monitor.update(rows, now=0)[0].breached is expected


def test_false_alarms_of_a_model_that_is_just_good_enough():
    rng = np.random.default_rng(0)
    monitor = AccuracyMonitor(0.9, window=200, false_alarm_rate=0.05)
    alarms = 0
    for _ in range(1000):
        correct = int(rng.binomial(200, 0.9))
        rows = joined_rows([RIGHT] * correct + [WRONG] * (200 - correct), 0)
        alarms += bool(monitor.update(rows, now=0)[0].breached)
    assert alarms / 1000 <= 0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5


def test_the_verdict_is_the_exact_binomial_test():
    monitor = AccuracyMonitor(0.9, window=100)
    found = monitor.update(joined_rows([RIGHT] * 84 + [WRONG] * 16, 0), now=0)
    expected = stats.binomtest(84, 100, 0.9, alternative="less").pvalue
    assert found[0].p_value == pytest.approx(expected)


def test_goes_on_after_a_restart():
    monitor = AccuracyMonitor(0.5, window=10)
    monitor.update(joined_rows([RIGHT] * 13, 0), now=0)
    other = AccuracyMonitor(0.5, window=10)
    other.restore(json.loads(json.dumps(monitor.state())))
    rows = joined_rows([WRONG] * 7, 1)
    mine, theirs = (one.update(rows, now=1) for one in (monitor, other))
    assert mine == theirs
    assert theirs[0].value == 0.3


def test_without_a_minimum_there_is_no_verdict():
    monitor = AccuracyMonitor(None, window=10)
    (found,) = monitor.update(joined_rows([WRONG] * 10, 0), now=0)
    assert (found.value, found.threshold, found.breached, found.p_value) == (0, None, None, None)
    assert found.reason == "no threshold set"


def test_a_verdict_by_another_minimum_does_not_outlive_a_restart():
    monitor = AccuracyMonitor(None, window=10)
    monitor.update(joined_rows([WRONG] * 13, 0), now=0)
    other = AccuracyMonitor(0.9, window=10)
    assert other.restore(json.loads(json.dumps(monitor.state()))) == []
    assert other.filled == (3, 10)
    assert other.update(joined_rows([WRONG] * 7, 1), now=1)[0].breached is True


def at(rows, first):
    return [JoinedRow(row.predicted, row.y_true, {}, first + n) for n, row in enumerate(rows)]


def corrected(*rows):
    """Positions of rows with their predicted class, the label before and the one from now on."""
    made = [CorrectedRow(predicted, old, new, position=at) for at, predicted, old, new in rows]
    return corrections(made, 9.0)


def test_corrections_count_in_the_current_window_and_in_the_latest():
    monitor = AccuracyMonitor(0.5, window=10)
    assert monitor.revise(corrected((0, 1, 1, 0)), now=0) == []
    monitor.update(joined_rows(at([RIGHT] * 10, 0), 1), now=1)
    (found,) = monitor.update(joined_rows(at([RIGHT] * 14, 10), 2), now=2)
    assert (found.value, found.revised, monitor.filled) == (1, 0, (4, 10))
    # Two in the latest window, one of them twice; one in the current; one that is too old.
    revised = monitor.revise(
        corrected((10, 1, 1, 0), (10, 1, 0, 2), (19, 1, 1, 0), (21, 1, 1, 0), (3, 1, 1, 0)), now=3
    )
    (again,) = revised
    assert (again.value, again.revised) == (0.8, 3)
    assert (again.window, again.window_id) == (found.window, found.window_id)
    assert again.ci == wilson(8, 10, 0.95)
    (third,) = monitor.revise(corrected((19, 1, 0, 1)), now=3)
    assert (third.value, third.revised) == (0.9, 4)
    (last,) = monitor.update(joined_rows(at([RIGHT] * 6, 24), 4), now=4)
    assert (last.value, last.revised) == (0.9, 0)


def test_a_correction_may_turn_the_verdict():
    monitor = AccuracyMonitor(0.9, window=100)
    (found,) = monitor.update(joined_rows(at([RIGHT] * 90 + [WRONG] * 10, 0), 0), now=0)
    assert found.breached is False
    worse = [(position, 1, 1, 0) for position in range(30)]
    (found,) = monitor.revise(corrected(*worse), now=0)
    assert (found.breached, found.value) == (True, 0.6)


def test_corrections_after_a_restart():
    monitor = AccuracyMonitor(0.5, window=10)
    monitor.update(joined_rows(at([RIGHT] * 13, 0), 0), now=0)
    other = AccuracyMonitor(0.5, window=10)
    other.restore(json.loads(json.dumps(monitor.state())))
    given = corrected((2, 1, 1, 0), (11, 1, 1, 0))
    assert monitor.revise(given, now=1) == other.revise(given, now=1) != []
    assert monitor.state() == other.state()


def test_a_label_that_stays_wrong_revises_and_a_label_that_stays_does_not():
    monitor = AccuracyMonitor(0.5, window=10)
    monitor.update(joined_rows(at([WRONG] * 10, 0), 0), now=0)
    assert monitor.revise(corrected((2, 0, 1, 1)), now=1) == []
    (found,) = monitor.revise(corrected((2, 0, 1, 2)), now=1)
    assert (found.value, found.revised) == (0, 1)
