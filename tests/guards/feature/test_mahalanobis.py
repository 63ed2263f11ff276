import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from guards.binomial import binomial_bounds
from guards.decisions import MOST_SCORE, Action
from guards.feature.ledoit_wolf import ledoit_wolf_covariance
from guards.feature.mahalanobis import MahalanobisGuard
from guards.rows import Rows


def check(guard, features):
    return guard.check(Rows(len(features), features=features))


def test_score_is_the_distance_of_the_definition(make_blobs):
    rng = np.random.default_rng(0)
    features, labels = make_blobs(rng, 200)
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.stack([rows[labels == c].mean(axis=0) for c in range(3)])
    precision = np.linalg.inv(ledoit_wolf_covariance(rows - means[labels]))
    offsets = rows[:, None] - means
    expected = np.einsum("ncw,wv,ncv->nc", offsets, precision, offsets).min(axis=1)
    guard = MahalanobisGuard().fit(features, labels)
    assert_allclose(guard.score(features), expected, rtol=1e-6)


def test_does_not_depend_on_the_length_of_features(make_blobs):
    features, labels = make_blobs(np.random.default_rng(0), 200)
    guard = MahalanobisGuard().fit(features, labels)
    assert_allclose(guard.score(features * 50), guard.score(features), rtol=1e-4)


def test_foreign_rows_score_higher_on_digits():
    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.data))
    fit, held, clean = np.split(order, [900, 1350])
    guard = MahalanobisGuard().fit(digits.data[fit], digits.target[fit])
    guard.calibrate(digits.data[held], 0.05)
    # Shuffled pixels have the same values and the same norm; only their places are foreign.
    foreign = rng.permuted(digits.data[clean], axis=1)
    scores = np.concatenate([guard.score(digits.data[clean]), guard.score(foreign)])
    truth = np.repeat([0, 1], len(clean))
    assert roc_auc_score(truth, scores) >= 0.98
    flagged = check(guard, foreign).action > 0
    assert flagged.mean() >= 0.9
    false = int((check(guard, digits.data[clean]).action > 0).sum())
    lower, upper = binomial_bounds(false, len(clean), 0.99)
    assert lower <= 0.05
    assert upper >= 0.02


def test_stated_false_positive_rate_holds(make_blobs):
    rng = np.random.default_rng(1)
    features, labels = make_blobs(rng, 500)
    guard = MahalanobisGuard().fit(features, labels)
    rates = []
    for _ in range(200):
        guard.calibrate(make_blobs(rng, 99)[0], 0.1)
        rates.append((check(guard, make_blobs(rng, 200)[0]).action > 0).mean())
    assert np.mean(rates) <= 0.1 + 2 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) >= 0.08


def test_threshold_is_conservative_and_needs_enough_rows(make_blobs):
    rng = np.random.default_rng(2)
    features, labels = make_blobs(rng, 300)
    guard = MahalanobisGuard().fit(features, labels)
    held = make_blobs(rng, 19)[0]
    assert guard.calibrate(held, 0.05).threshold == guard.score(held).max()
    with pytest.raises(ValueError, match="at least 19 held-out rows; got 18"):
        guard.calibrate(held[:18], 0.05)
    with pytest.raises(ValueError, match="between 0 and 1"):
        guard.calibrate(held, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_score_highest(make_blobs, value):
    features, labels = make_blobs(np.random.default_rng(3), 300)
    guard = MahalanobisGuard(Action.FLAG).fit(features, labels).calibrate(features, 0.01)
    rows = features[:3].copy()
    rows[1, 0] = value
    assert np.isinf(guard.score(rows)[1])
    decisions = check(guard, rows)
    assert decisions.action[1] == Action.FLAG
    assert decisions.score[1] == np.float32(MOST_SCORE)
    assert_allclose(decisions.score[[0, 2]], guard.score(rows)[[0, 2]] / guard.threshold)
    assert decisions.score.dtype == np.float32


def test_silent_units_that_fire_are_foreign(make_blobs):
    features, labels = make_blobs(np.random.default_rng(4), 400)
    features = np.column_stack((features, np.zeros((400, 4), np.float32)))
    guard = MahalanobisGuard().fit(features, labels).calibrate(features, 0.01)
    row = features[:1].copy()
    assert check(guard, row).action[0] == 0
    row[0, -1] = 3
    assert check(guard, row).action[0] != 0
    assert np.isfinite(guard.score(np.zeros((1, 12)))).all()


def test_arrays_bring_back_the_very_same_guard(make_blobs):
    rng = np.random.default_rng(5)
    features, labels = make_blobs(rng, 300)
    guard = MahalanobisGuard().fit(features, labels).calibrate(features, 0.05)
    back = MahalanobisGuard.from_arrays(guard.to_arrays(), Action.REJECT)
    probe = make_blobs(rng, 50)[0]
    assert_array_equal(back.score(probe), guard.score(probe))
    assert back.threshold == guard.threshold
    assert set(check(back, probe).action.tolist()) <= {0, Action.REJECT}


def test_says_what_is_missing(make_blobs):
    features, labels = make_blobs(np.random.default_rng(6), 30)
    guard = MahalanobisGuard()
    with pytest.raises(ValueError, match="fitted width"):
        guard.score(features)
    guard.fit(features, labels)
    with pytest.raises(ValueError, match="not calibrated"):
        check(guard, features)
    with pytest.raises(ValueError, match="penultimate features"):
        guard.check(Rows(30))
    with pytest.raises(ValueError, match=r"features must be \[n, 8\]"):
        guard.score(features[:, :5])


@pytest.mark.parametrize(
    ("features", "labels", "reason"),
    [
        (np.ones((4, 2)), np.zeros(3), "must be"),
        (np.ones(4), np.zeros(4), "must be"),
        (np.full((4, 2), np.nan), np.zeros(4), "finite"),
        (np.ones((4, 2)), np.zeros(4), "do not vary"),
    ],
)
def test_refuses_to_fit_what_teaches_nothing(features, labels, reason):
    with pytest.raises(ValueError, match=reason):
        MahalanobisGuard().fit(features, labels)


def plain_scores(guard, features):
    """The definition, row by row and class by class."""
    learned = guard.to_arrays()
    found = []
    for row in features.astype(np.float64):
        with np.errstate(invalid="ignore", over="ignore"):
            length = max(np.sqrt((row * row).sum()), np.finfo(np.float64).tiny)
            offsets = (row / length - learned["means"]) @ learned["whitening"]
        least = (offsets * offsets).sum(axis=1).min()
        found.append(np.inf if np.isnan(least) else least)
    return np.array(found)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 2, 8, 20, 333])
def test_decides_as_the_definition_does(rows, dtype):
    for seed in range(20):
        rng = np.random.default_rng([seed, rows])
        width, classes = int(rng.integers(1, 90)), int(rng.integers(1, 12))
        labels = np.append(np.arange(classes), rng.integers(classes, size=300))
        learned = rng.normal(size=(classes, width))[labels] + rng.normal(size=(len(labels), width))
        guard = MahalanobisGuard(Action.REJECT).fit(learned, labels).calibrate(learned, 0.3)
        features = (rng.normal(size=(rows, width)) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
        features[rng.random(rows) < 0.1] = 0
        bad = rng.random(features.shape) < 0.1 / width
        features[bad] = rng.choice([np.nan, np.inf, -np.inf], size=int(bad.sum()))
        kept = features.copy()
        decisions = check(guard, features)
        expected = plain_scores(guard, features)
        assert_allclose(guard.score(features), expected, rtol=1e-9, atol=1e-9)
        alone = [float(guard.score(features[at : at + 1])[0]) for at in range(rows)]
        assert_allclose(alone, expected, rtol=1e-9, atol=1e-9)
        above = expected > guard.threshold
        assert_array_equal(decisions.action, np.where(above, Action.REJECT, Action.PASS))
        assert list(decisions.reasons) == np.flatnonzero(above).tolist()
        assert [row for row, *_ in decisions.found()] == list(decisions.reasons)
        assert decisions.score.shape == decisions.action.shape == (rows,)
        assert_array_equal(features, kept)


@pytest.mark.parametrize("rows", [1, 30])
def test_features_of_any_size_are_scored_without_a_warning(make_blobs, rows):
    features, labels = make_blobs(np.random.default_rng(7), 300)
    guard = MahalanobisGuard().fit(features, labels).calibrate(features, 0.01)
    for dtype in (np.float16, np.float32, np.float64):
        limits = np.finfo(dtype)
        for value in (limits.max, limits.min, limits.tiny, limits.smallest_subnormal, 0, np.inf):
            scores = guard.score(np.full((rows, features.shape[1]), value, dtype))
            assert not np.isnan(scores).any()
            assert (scores >= 0).all()
            assert_allclose(scores, scores[0])
