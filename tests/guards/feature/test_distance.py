import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from guards.binomial import binomial_bounds
from guards.decisions import MOST_SCORE, Action
from guards.feature import distance
from guards.feature.distance import DistanceGuard
from guards.rows import Rows


def check(guard, features):
    return guard.check(Rows(len(features), features=features))


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    fit, held, clean = np.split(order, [900, 1350])
    guard = DistanceGuard().fit(data.data[fit], data.target[fit])
    return guard.calibrate(data.data[held], 0.05), data.data[clean], data.target[clean]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows, rng: rng.permuted(rows, axis=1),
        lambda rows, rng: rng.uniform(0, 16, rows.shape),
        lambda rows, _: rows * 255,
        lambda rows, _: rows / 50,
        lambda rows, _: 16 - rows,
        lambda rows, _: np.zeros_like(rows),
        lambda rows, _: np.full_like(rows, 16),
    ],
    ids=["shuffled", "noise", "large", "small", "inverted", "black", "white"],
)
def test_foreign_rows_are_found_whatever_is_foreign_of_them(digits, change):
    guard, clean, _ = digits
    foreign = change(clean, np.random.default_rng(1))
    scores = np.concatenate([guard.score(clean), guard.score(foreign)])
    assert roc_auc_score(np.repeat([0, 1], len(clean)), scores) >= 0.98
    assert (check(guard, foreign).action > 0).mean() >= 0.9


def test_a_class_that_was_never_seen_is_found():
    data = load_digits()
    found = []
    for unseen in (0, 4, 6):
        known = data.target != unseen
        order = np.random.default_rng(unseen).permutation(int(known.sum()))
        rows, labels = data.data[known][order], data.target[known][order]
        guard = DistanceGuard().fit(rows[:800], labels[:800]).calibrate(rows[800:1200], 0.05)
        clean, near = guard.score(rows[1200:]), guard.score(data.data[~known])
        truth = np.repeat([0, 1], [len(clean), len(near)])
        found.append(roc_auc_score(truth, np.concatenate([clean, near])))
    assert np.mean(found) > 0.93


def test_the_stated_rate_holds_over_all_and_in_every_class(digits):
    guard, clean, labels = digits
    flagged = check(guard, clean).action > 0
    lower, upper = binomial_bounds(int(flagged.sum()), len(clean), 0.99)
    assert lower <= 0.05
    assert upper >= 0.02
    for each in range(10):
        own = flagged[labels == each]
        assert binomial_bounds(int(own.sum()), len(own), 0.99)[0] <= 0.1


def blobs(rng, n, spread):
    """Classes of which one varies more than the others."""
    labels = rng.integers(0, 3, n)
    rows = 5 * np.eye(6)[labels] + 2 + rng.normal(size=(n, 6)) * np.array(spread)[labels][:, None]
    return rows, labels


def test_a_class_that_varies_more_has_a_threshold_of_its_own():
    rng, spread = np.random.default_rng(3), (0.2, 0.2, 0.8)
    guard = (
        DistanceGuard().fit(*blobs(rng, 900, spread)).calibrate(blobs(rng, 2000, spread)[0], 0.05)
    )
    rows, labels = blobs(rng, 6000, spread)
    flagged = check(guard, rows).action > 0
    for each in range(3):
        assert 0.02 < flagged[labels == each].mean() < 0.1


def test_scores_are_the_larger_of_both_distances_over_what_is_normal():
    rng = np.random.default_rng(4)
    fitted, held, rows = (blobs(rng, n, (0.3, 0.3, 0.3)) for n in (300, 400, 50))
    guard = DistanceGuard().fit(*fitted).calibrate(held[0], 0.1)
    places = np.column_stack((
        rows[0] / np.linalg.norm(rows[0], axis=1, keepdims=True),
        np.log(np.linalg.norm(rows[0], axis=1)),
    ))  # fmt: skip
    all_of = guard._near.of(fitted[0])
    apart = np.linalg.norm((places @ guard._near.whitening)[:, None] - all_of, axis=2)
    near = apart.min(axis=1)
    classes = fitted[1][apart.argmin(axis=1)]
    means = np.stack([fitted[0][fitted[1] == each].mean(axis=0) for each in range(3)])
    white = (rows[0][:, None] - means) @ guard._raw_whitening
    raw = np.linalg.norm(white, axis=2).min(axis=1)
    wanted = np.maximum(near / guard._units[classes, 0], raw / guard._units[classes, 1])
    assert_allclose(guard.score(rows[0]), wanted / guard._thresholds[classes], rtol=1e-9)


def test_wide_features_are_compared_along_few_axes_and_nothing_beside_them_is_lost(monkeypatch):
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(3, 300))
    rows = rng.normal(size=(1500, 3)) @ mix + rng.normal(size=(1500, 300)) * 0.1 + 5
    labels = np.zeros(1500, np.int64)
    guard = DistanceGuard().fit(rows[:800], labels[:800]).calibrate(rows[800:], 0.05)
    assert guard._references.shape == (800, 32)
    beside = rows[:100] + rng.normal(size=(100, 300)) * 0.6
    assert (check(guard, beside).action > 0).all()


def test_of_many_reference_rows_each_class_keeps_as_many_as_others():
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1, 2], [5000, 300, 500])
    rows = 5 * np.eye(4)[labels] + rng.normal(size=(5800, 4))
    guard = DistanceGuard().fit(rows, labels)
    assert np.bincount(guard._classes).tolist() == [350, 300, 350]
    assert len(guard._references) == distance.MOST_REFERENCES


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_no_numbers_are_foreign(digits, value):
    guard, clean, _ = digits
    rows = clean[:3].copy()
    rows[1, 5] = value
    found = check(guard, rows)
    assert found.action[1] == Action.FLAG
    assert 1 < found.score[1] <= MOST_SCORE
    assert np.isfinite(found.score).all()


def test_arrays_bring_it_back_and_wrong_ones_are_refused(digits):
    guard, clean, _ = digits
    arrays = guard.to_arrays()
    again = DistanceGuard.from_arrays(arrays, Action.REJECT)
    assert again.score(clean).tolist() == guard.score(clean).tolist()
    assert set(check(again, clean * 255).action.tolist()) == {Action.REJECT}
    with pytest.raises(ValueError, match="does not belong together"):
        DistanceGuard.from_arrays({**arrays, "thresholds": arrays["thresholds"][:3]})


def test_what_cannot_be_learnt_is_said():
    rng = np.random.default_rng(7)
    rows, labels = blobs(rng, 100, (0.3, 0.3, 0.3))
    with pytest.raises(ValueError, match="do not vary within classes"):
        DistanceGuard().fit(np.ones((50, 3)), np.zeros(50))
    with pytest.raises(ValueError, match="must be finite"):
        DistanceGuard().fit(np.full((50, 3), np.nan), np.zeros(50))
    with pytest.raises(ValueError, match=r"must be \[n, width\]"):
        DistanceGuard().fit(rows, labels[:5])
    guard = DistanceGuard().fit(rows, labels)
    with pytest.raises(ValueError, match=r"0\.01 needs at least 99 held-out rows; got 98"):
        guard.calibrate(rows[:98], 0.01)
    with pytest.raises(ValueError, match="not calibrated"):
        guard.score(rows)
    guard.calibrate(rows, 0.01)
    with pytest.raises(ValueError, match=r"features must be \[n, 6\]"):
        guard.score(rows[:, :3])


def test_a_threshold_counts_so_many_held_out_rows():
    rng = np.random.default_rng(8)
    rows, labels = blobs(rng, 1000, (0.3, 0.3, 0.3))
    guard = DistanceGuard().fit(rows, labels)
    held = blobs(rng, 99, (0.3, 0.3, 0.3))[0]
    guard.calibrate(held, 0.1)
    # Of each class with enough rows the ceil((n + 1) (1 - rate))-th smallest is the threshold.
    scores, classes = guard.score(held), guard._distances(held)[1]
    for each in range(3):
        own = scores[classes == each]
        assert (own > 1).sum() == len(own) - math.ceil((len(own) + 1) * 0.9 - 1e-9)
