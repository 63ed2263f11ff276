"""Figures from counts are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.estimate import Level, Outcomes


def counted(counts, *batches):
    sums = np.zeros(counts.columns)
    for predicted, labels in batches:
        counts.add(sums, Outcomes(np.asarray(predicted), np.asarray(labels)))
    return sums


def estimates(counts, sums, alpha=0.025, factor=1.0):
    level = Level(np.array([alpha]), np.array([factor]))
    return {each.name: each.of(sums[None], level) for each in class_metrics(counts)}


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_equal_scikit_learn(classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 300)
    predicted = np.where(rng.random(300) < 0.7, labels, rng.integers(0, classes, 300))
    found = estimates(
        ClassCounts(classes, classes - 1, scored=False),
        counted(ClassCounts(classes, classes - 1, scored=False), (predicted, labels)),
    )
    average = "binary" if classes == 2 else "macro"
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "f1": sklearn_metrics.f1_score(labels, predicted, average=average),
    }
    values = {name: each.value[0] for name, each in found.items()}
    assert values == pytest.approx(expected, rel=1e-12)
    for each in found.values():
        assert each.low[0] < each.value[0] < each.high[0]
        assert each.rows[0] == 300


def test_the_positive_class_may_be_the_first():
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 0, 0, 1])
    counts = ClassCounts(2, 0, scored=False)
    found = estimates(counts, counted(counts, (predicted, labels)))["f1"].value[0]
    assert found == pytest.approx(sklearn_metrics.f1_score(labels, predicted, pos_label=0))


def test_batches_do_not_matter_and_rows_can_be_taken_away():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, 100), rng.integers(-1, 3, 100)
    counts = ClassCounts(3, 2, scored=False)
    whole = counted(counts, (predicted, labels))
    parts = counted(
        counts, *((predicted[at : at + 7], labels[at : at + 7]) for at in range(0, 100, 7))
    )
    assert whole.tolist() == parts.tolist()
    counts.add(parts, Outcomes(predicted, labels), -1.0)
    assert not parts.any()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1"])
@pytest.mark.parametrize("classes", [2, 4])
def test_bounds_hold_at_their_level(name, classes):
    rng = np.random.default_rng(5)
    counts = ClassCounts(classes, classes - 1, scored=False)

    def draw(n):
        labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
        return np.where(rng.random(n) < 0.8, labels, rng.integers(0, classes, n)), labels

    truth = estimates(counts, counted(counts, draw(1_000_000)))[name].value[0]
    drawn = [estimates(counts, counted(counts, draw(200)), 0.05)[name] for _ in range(600)]
    most = 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    assert np.mean([each.low[0] > truth for each in drawn]) <= most
    assert np.mean([each.high[0] < truth for each in drawn]) <= most


def test_rows_that_vary_more_count_as_fewer():
    counts = ClassCounts(2, 1, scored=False)
    sums = counted(counts, ([1] * 80 + [0] * 20, [1] * 100))
    plain, wide = (estimates(counts, sums, factor=factor)["accuracy"] for factor in (1.0, 4.0))
    assert wide.high[0] - wide.low[0] == pytest.approx(2 * (plain.high[0] - plain.low[0]), rel=0.1)


def test_one_class_only_and_no_class_at_all():
    counts = ClassCounts(2, 1, scored=False)
    one = estimates(counts, counted(counts, ([0, 0, 0], [0, 0, 0])))
    assert (one["accuracy"].value[0], one["balanced_accuracy"].value[0]) == (1, 1)
    assert np.isnan(one["f1"].value[0])
    (f1,) = (each for each in class_metrics(counts) if each.name == "f1")
    assert f1.why(np.zeros(counts.columns)) == "no row is of the class, or was taken for it"
    wrong = estimates(counts, counted(counts, ([-1, -1], [0, 1])))
    assert wrong["accuracy"].value[0] == wrong["balanced_accuracy"].value[0] == 0
    unknown = ClassCounts(0, 0, scored=False)
    assert list(estimates(unknown, counted(unknown, ([5, 7], [5, 8])))) == ["accuracy"]


def test_the_worst_class_is_told_if_it_has_enough_rows():
    counts = ClassCounts(3, 2, scored=False)
    accuracy, *_ = class_metrics(counts, ["cat", "dog", "cow"])
    labels = [0] * 40 + [1] * 20 + [2] * 19
    predicted = [0] * 40 + [1] * 15 + [0] * 5 + [0] * 19
    found = accuracy.more(counted(counts, (predicted, labels)))
    assert found == {"worst_class": {"name": "dog", "recall": 0.75, "rows": 20}}
    assert accuracy.more(counted(counts, ([0] * 30, [0] * 30))) == {}
