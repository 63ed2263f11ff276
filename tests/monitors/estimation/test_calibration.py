import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from monitors.estimation.calibration import (
    Calibrator,
    _fit,
    calibrated,
    calibrator,
    check_can_be_calibrated,
    class_calibrators,
)


def fitted(score, probability, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    hits = (rng.random(len(score)) < probability).astype(float)
    return calibrator(score, hits, np.ones(len(score)) if weights is None else weights, rng)


def test_platt_is_chosen_where_its_line_is_right():
    score = np.random.default_rng(1).random(4000)
    odds = np.log(score / (1 - score))
    found = fitted(score, expit(0.5 * odds - 1))
    assert found.method == "platt"
    assert found.knots[:, 0] == pytest.approx([0.5, -1, 1], abs=0.1)


def test_isotonic_is_chosen_where_no_line_is_right():
    score = np.random.default_rng(1).random(4000)
    truth = np.where(score < 0.5, 0.1, 0.9)
    found = fitted(score, truth)
    assert found.method == "isotonic"
    assert np.abs(found.of(score) - truth).mean() < 0.03
    assert (np.diff(found.of(np.sort(score))) >= -1e-12).all()


def test_scores_need_not_be_probabilities():
    score = 3 * np.random.default_rng(1).normal(size=4000)
    found = fitted(score, expit(score))
    assert np.abs(found.of(score) - expit(score)).mean() < 0.02
    assert found.knots[2, 0] == 0


def test_weights_decide_between_rows_that_disagree():
    score = np.tile([0.2, 0.8], 1000)
    hits = np.repeat([0.0, 1.0], 1000)
    weights = np.where(hits == 1, 3.0, 1.0)
    found = calibrator(score, hits, weights, np.random.default_rng(0))
    assert found.of(np.array([0.2, 0.8])) == pytest.approx([0.75, 0.75], abs=0.02)


def test_ties_and_rows_without_weight():
    score, hits = np.repeat([0.1, 0.9], 50), np.repeat([0.0, 1.0], 50)
    weights = np.where(score > 0.5, 0.0, 1.0)
    found = calibrator(score, hits, weights, np.random.default_rng(0))
    assert np.isfinite(found.of(np.array([0.0, 0.5, 1.0]))).all()


def saturated(seed=0):
    """Scores that are nearly all 0 or 1, one in ten of them wrong."""
    rng = np.random.default_rng(seed)
    hits = (rng.random(600) < 0.5) * 1.0
    turned = rng.random(600) < np.where(hits, 0.15, 0.05)
    score = expit(rng.normal(size=600) + np.where(turned, 1 - 2 * hits, 2 * hits - 1) * 20)
    return score, hits


def test_platt_finds_its_optimum_where_scores_are_saturated():
    score, hits = saturated()
    found = _fit("platt", score, hits, np.ones(600))
    clipped = np.clip(score, 1e-6, 1 - 1e-6)
    line = np.log(clipped / (1 - clipped))[:, None]
    expected = LogisticRegression(C=np.inf).fit(line, hits)
    assert found.knots[0, 0] == pytest.approx(expected.coef_[0, 0], abs=0.02)
    assert found.knots[1, 0] == pytest.approx(expected.intercept_[0], abs=0.05)
    assert found.of(score).mean() == pytest.approx(hits.mean(), abs=0.005)


def test_isotonic_probabilities_of_any_scores_sum_to_the_hits():
    score, hits = saturated()
    weights = np.random.default_rng(1).random(600)
    found = _fit("isotonic", score, hits, weights)
    assert weights @ found.of(score) == pytest.approx(weights @ hits)


def test_classes_sum_to_one():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), size=500)
    labels = scores.argmax(axis=1)
    for found in (
        calibrated(class_calibrators(scores, labels, np.ones(500), rng), scores),
        calibrated([Calibrator("isotonic", np.array([[0.0, 1.0], [0.0, 1.0]]))], scores[:, :2]),
    ):
        assert found.sum(axis=1) == pytest.approx(np.ones(500))
        assert (found >= 0).all()


def test_what_cannot_be_calibrated_is_named():
    with pytest.raises(ValueError, match="labels are all of class 1"):
        check_can_be_calibrated(np.eye(2), np.array([1, 1]))
    with pytest.raises(ValueError, match=r"the score of class 1 is 0\.3 in every row"):
        check_can_be_calibrated(np.array([[0.1, 0.3], [0.2, 0.3]]), np.array([0, 1]))
