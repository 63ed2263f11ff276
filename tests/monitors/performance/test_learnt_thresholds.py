import numpy as np
import pytest
from scipy import stats

from monitors.performance.learnt_thresholds import ALPHA, FEWEST, learnt_thresholds
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.estimate import Outcomes
from monitors.performance.metrics.number_metrics import NumberCounts


def test_a_threshold_is_the_worst_value_that_is_not_ruled_out():
    counts = ClassCounts(2, 1, scored=False)
    labels = np.arange(300) % 2
    predicted = np.where(np.arange(300) < 270, labels, 1 - labels)
    found = learnt_thresholds(counts, class_metrics(counts), Outcomes(predicted, labels))
    assert list(found) == ["accuracy", "balanced_accuracy", "f1"]
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.rows) == (0.9, 300)
    assert stats.binom.sf(269, 300, accuracy.threshold) == pytest.approx(ALPHA)


def test_of_errors_it_is_above():
    counts, rng = NumberCounts(1), np.random.default_rng(0)
    labels = rng.normal(size=200)
    outcomes = Outcomes(labels + rng.normal(size=200), labels)
    found = learnt_thresholds(counts, counts.metrics, outcomes)
    assert found["mae"].value < found["mae"].threshold
    assert found["r2"].value > found["r2"].threshold


def test_of_few_rows_nothing_is_learnt():
    counts = NumberCounts(1)
    few = np.arange(FEWEST - 1.0)
    assert learnt_thresholds(counts, counts.metrics, Outcomes(few + 1, few)) == {}
