"""Figures of scores are scikit-learn's; those from histograms within the error that they tell."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.estimate import Level, Outcomes
from monitors.performance.metrics.score_metrics import (
    MANY_CLASSES,
    NO_PROBABILITIES,
    NO_SCORES,
    ONE_CLASS,
    score_metrics,
)

LEVEL = Level(np.array([0.025]), np.array([1.0]))


def draw(classes, n=400, seed=0, strength=1.5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    raw = rng.normal(size=(n, classes))
    raw[np.arange(n), labels] += strength
    return softmax(1.5 * raw, axis=1), labels


def counted(counts, scores, labels, amount=1.0, sums=None):
    sums = np.zeros(counts.columns) if sums is None else sums
    counts.add(sums, Outcomes(scores.argmax(axis=1), labels, scores), amount)
    return sums


def shown(counts, sums, level=LEVEL):
    return {each.name: (each, each.of(sums[None], level)) for each in score_metrics(counts)}


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_losses_equal_scikit_learn(classes, seed):
    scores, labels = draw(classes, seed=seed)
    counts = ClassCounts(classes, classes - 1, scored=True)
    found = shown(counts, counted(counts, scores, labels))
    values = {name: estimate.value[0] for name, (_, estimate) in found.items()}
    loss = sklearn_metrics.log_loss(labels, scores, labels=range(classes))
    brier = sklearn_metrics.brier_score_loss(labels, scores, labels=range(classes))
    assert values["log_loss"] == pytest.approx(loss, rel=1e-12)
    assert values["brier"] == pytest.approx(brier, rel=1e-12)


@pytest.mark.parametrize("strength", [0.0, 1.5, 6.0])
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_rankings_equal_scikit_learn_within_the_error_that_is_told(classes, strength):
    scores, labels = draw(classes, seed=classes, strength=strength)
    counts = ClassCounts(classes, classes - 1, scored=True)
    sums = counted(counts, scores, labels)
    given = scores[:, 1] if classes == 2 else scores
    own = given if classes == 2 else scores
    truths = labels if classes == 2 else np.eye(classes)[labels]
    expected = {
        "auroc": sklearn_metrics.roc_auc_score(
            labels, given, **({} if classes == 2 else {"multi_class": "ovr"})
        ),
        "auprc": sklearn_metrics.average_precision_score(truths, own),
    }
    for name, exact in expected.items():
        metric, estimate = shown(counts, sums)[name]
        error = metric.more(sums)["binning_error"]
        assert estimate.value[0] == pytest.approx(exact, abs=min(error + 1e-6, 0.006))
        assert error < {"auroc": 0.01, "auprc": 0.05}[name]
        assert estimate.low[0] < exact < estimate.high[0] or exact == 1


def test_of_scores_that_are_bins_rankings_are_exact():
    rng = np.random.default_rng(2)
    own = rng.integers(0, 20, 500) / 20
    labels = (rng.random(500) < own).astype(int)
    counts = ClassCounts(2, 1, scored=True)
    found = shown(counts, counted(counts, np.stack([1 - own, own], axis=1), labels))
    auroc = sklearn_metrics.roc_auc_score(labels, own)
    precision = sklearn_metrics.average_precision_score(labels, own)
    assert found["auroc"][1].value[0] == pytest.approx(auroc, rel=1e-12)
    assert found["auprc"][1].value[0] == pytest.approx(precision, rel=1e-12)


def test_the_calibration_error_is_that_of_its_bins():
    scores, labels = draw(4, n=1000, seed=7)
    counts = ClassCounts(4, 3, scored=True)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    place = np.minimum((confidence * 10).astype(int), 9)
    expected = sum(
        abs(confidence[place == at].mean() - right[place == at].mean()) * (place == at).mean()
        for at in np.unique(place)
    )
    metric, found = shown(counts, counted(counts, scores, labels))["calibration_error"]
    assert found.value[0] == pytest.approx(expected, rel=1e-12)
    assert 0 < metric.more(counted(counts, scores, labels))["bias_at_most"] < 0.1


@pytest.mark.parametrize("name", ["auroc", "auprc", "log_loss", "brier", "calibration_error"])
def test_bounds_hold_at_their_level(name):
    counts = ClassCounts(2, 1, scored=True)
    level = Level(np.array([0.05]), np.array([1.0]))

    def found(n, seed):
        scores, labels = draw(2, n=n, seed=seed, strength=1.0)
        return shown(counts, counted(counts, scores, labels), level)[name][1]

    truth = found(400_000, 1).value[0]
    drawn = [found(300, seed) for seed in range(10, 410)]
    most = 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean([each.low[0] > truth for each in drawn]) <= most
    assert np.mean([each.high[0] < truth for each in drawn]) <= most


def test_rows_can_be_taken_away_and_batches_do_not_matter():
    scores, labels = draw(3, n=100)
    counts = ClassCounts(3, 2, scored=True)
    whole, parts = counted(counts, scores, labels), np.zeros(counts.columns)
    for at in range(0, 100, 9):
        counted(counts, scores[at : at + 9], labels[at : at + 9], sums=parts)
    assert whole.tolist() == parts.tolist()
    counted(counts, scores, labels, -1.0, parts)
    assert np.abs(parts).max() < 1e-12


def test_logits_rank_rows_and_are_no_probabilities():
    scores, labels = draw(2)
    logits = np.log(scores) + 5
    counts = ClassCounts(2, 1, scored=True)
    plain = shown(counts, counted(counts, scores, labels))
    sums = counted(counts, logits, labels)
    found = shown(counts, sums)
    assert found["auroc"][1].value[0] == pytest.approx(plain["auroc"][1].value[0], abs=1e-3)
    for name in ("log_loss", "brier", "calibration_error"):
        metric, estimate = found[name]
        assert np.isnan(estimate.value[0])
        assert metric.why(sums) == NO_PROBABILITIES


def test_few_rows_that_happen_to_be_probabilities_are_not_told_as_all():
    scores, labels = draw(2)
    scores[20:] *= 3
    counts = ClassCounts(2, 1, scored=True)
    sums = counted(counts, scores, labels)
    metric, estimate = shown(counts, sums)["log_loss"]
    assert (np.isnan(estimate.value[0]), metric.why(sums)) == (True, NO_PROBABILITIES)


@pytest.mark.parametrize(
    ("scores", "why"),
    [(None, NO_SCORES), (np.full((9, 2), np.nan), NO_SCORES), (np.full((9, 2), 0.5), ONE_CLASS)],
)
def test_what_has_no_value_says_why(scores, why):
    counts = ClassCounts(2, 1, scored=True)
    sums = np.zeros(counts.columns)
    counts.add(sums, Outcomes(np.ones(9, int), np.ones(9, int), scores))
    for name in ("auroc", "auprc"):
        metric, estimate = shown(counts, sums)[name]
        assert np.isnan(estimate.value[0])
        assert (metric.why(sums), metric.more(sums).get("binning_error")) == (why, None)


def test_constant_scores_are_told():
    counts = ClassCounts(2, 1, scored=True)
    sums = counted(counts, np.full((40, 2), 0.5), np.arange(40) % 2)
    metric, estimate = shown(counts, sums)["auroc"]
    assert estimate.value[0] == 0.5
    assert metric.more(sums)["note"] == "all scores are alike"


def test_many_classes_have_losses_and_no_rankings():
    scores, labels = draw(40)
    counts = ClassCounts(40, 39, scored=True)
    sums = counted(counts, scores, labels)
    found = shown(counts, sums)
    assert found["auroc"][0].why(sums) == MANY_CLASSES
    assert np.isnan(found["auroc"][1].value[0])
    assert found["log_loss"][1].value[0] > 0
    assert score_metrics(ClassCounts(3, 2, scored=False)) == ()
