"""Foreign inputs, by the distance of their penultimate features from every training class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Self

import numpy as np

from guards.decisions import MOST_SCORE, Action, Decisions
from guards.feature.ledoit_wolf import ledoit_wolf_covariance
from guards.guard import Needs, Stage
from guards.rows import Rows

_FEW_DISTANCES: Final = 16
_SMALLEST: Final = float(np.finfo(np.float64).tiny)
_REASON: Final = "the input is unlike the data the model was trained on"


class MahalanobisGuard:
    """Squared Mahalanobis distance of L2-normalised features to the nearest class mean.

    Class-conditional means with one shared covariance: Lee et al. (2018), "A Simple Unified
    Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"; the
    normalisation: Mueller and Hein (2025), "Mahalanobis++". The covariance is shrunk by Ledoit
    and Wolf, so units that were silent in training do not make it singular.

    Detection is non-adaptive: an attacker who knows the model can aim for a class mean.

    Args:
        action: what happens to a row above the threshold.
    """

    name = "mahalanobis"
    stage = Stage.FEATURES
    needs = Needs(features=True)

    def __init__(self, action: Action = Action.FLAG) -> None:
        self.action = action
        self._whitening = np.empty((0, 0))
        self._means = np.empty((0, 0))
        self._twice_projected = np.empty((0, 0))
        self._squares = np.empty(0)
        self._listed: list[float] = []
        self._threshold = math.nan

    @property
    def threshold(self) -> float:
        """Largest score that passes; NaN before `calibrate`."""
        return self._threshold

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Learn class means and covariance from training rows.

        Args:
            features: penultimate activations, float [n, width].
            labels: class of each row, [n].

        Raises:
            ValueError: wrong shapes, non-finite features, or features that do not vary.
        """
        if features.ndim != 2 or labels.shape != (len(features),) or not len(features):
            raise ValueError("features must be [n, width] and labels [n], with n > 0")
        if not np.isfinite(features).all():
            raise ValueError("features to fit must be finite")
        rows = _normalised(features)
        classes, inverse = np.unique(labels, return_inverse=True)
        means = np.stack([rows[inverse == i].mean(axis=0) for i in range(len(classes))])
        covariance = ledoit_wolf_covariance(rows - means[inverse])
        if not np.trace(covariance) > 0:
            raise ValueError("features do not vary within classes")
        # inv(L).T whitens: |(x - m) inv(L).T|^2 = (x - m) inv(L L.T) (x - m).T
        self._whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T.copy()
        self._means = means
        self._project()
        self._threshold = math.nan
        return self

    def calibrate(self, features: np.ndarray, false_positive_rate: float) -> Self:
        """Set the threshold so that a new clean row is above it with at most the given rate.

        The threshold is the ceil((n + 1) (1 - rate))-th smallest score: for rows exchangeable
        with the held-out ones the rate holds on average over held-out sets of n rows (Vovk et
        al., split conformal); what one set realises is bounded by `binomial_bounds`.

        Args:
            features: penultimate activations of rows that were not fitted, float [n, width].
            false_positive_rate: in (0, 1).

        Raises:
            ValueError: too few rows to support the rate.
        """
        if not 0 < false_positive_rate < 1:
            raise ValueError("false_positive_rate must be between 0 and 1")
        scores = np.sort(self.score(features))
        # The small slack undoes rounding of 1 - rate, which would cost a whole rank.
        rank = math.ceil((len(scores) + 1) * (1 - false_positive_rate) - 1e-9)
        if rank > len(scores):
            need = math.ceil(1 / false_positive_rate - 1 - 1e-9)
            raise ValueError(
                f"a false positive rate of {false_positive_rate:g} needs at least {need} "
                f"held-out rows; got {len(scores)}"
            )
        self._threshold = float(scores[rank - 1])
        return self

    def score(self, features: np.ndarray) -> np.ndarray:
        """Score rows: float [n, width] in, float64 [n] out; inf where features are not finite.

        Raises:
            ValueError: the guard is not fitted, or the width differs from the fitted one.
        """
        return np.array(self._scores(features), dtype=np.float64)

    def check(self, rows: Rows) -> Decisions:
        """Judge a batch by its features [n, width].

        Raises:
            ValueError: no features, a wrong width, or the guard is not calibrated.
        """
        if rows.features is None:
            raise ValueError("the mahalanobis guard needs the model's penultimate features")
        threshold = self._threshold
        if math.isnan(threshold):
            raise ValueError("the mahalanobis guard is not calibrated")
        scores = self._scores(rows.features)
        above = [row for row, score in enumerate(scores) if score > threshold]
        action = np.zeros(len(scores), dtype=np.uint8)
        if above:
            action[above] = self.action
        # Divided in Python's own numbers: of few rows, which is what most batches have.
        unit = max(threshold, _SMALLEST)
        return Decisions(
            guard=self.name,
            action=action,
            reasons=dict.fromkeys(above, _REASON),
            score=np.array([min(score / unit, MOST_SCORE) for score in scores], dtype=np.float32),
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything that was learned, as arrays that a safetensors file can hold."""
        return {
            "means": self._means.copy(),
            "whitening": self._whitening.copy(),
            "threshold": np.array([self._threshold]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], action: Action = Action.FLAG) -> Self:
        """Return a guard that scores exactly as the one `to_arrays` was called on."""
        guard = cls(action)
        guard._means = np.array(arrays["means"], dtype=np.float64)
        guard._whitening = np.array(arrays["whitening"], dtype=np.float64)
        guard._threshold = float(arrays["threshold"][0])
        guard._project()
        return guard

    def _scores(self, features: np.ndarray) -> list[float]:
        width = len(self._whitening)
        if features.ndim != 2 or features.shape[1] != width or not width:
            raise ValueError(f"features must be [n, {width}] (fitted width); got {features.shape}")
        rows: np.ndarray = features.astype(np.float64)
        # With one request at a time the caches are cold, and each numpy call costs microseconds.
        # Squares of larger numbers than float32 has may overflow, which is dealt with for all.
        if len(rows) * len(self._squares) <= _FEW_DISTANCES and features.dtype.itemsize <= 4:
            return [self._score_of(row) for row in rows]
        scores: list[float] = self._score_all(rows).tolist()
        return scores

    def _score_of(self, row: np.ndarray) -> float:
        """What `_score_all` gives for one row, up to rounding, in few calls."""
        squared = float(row.dot(row))
        if not _SMALLEST < squared < math.inf:  # zeros, or not finite
            return float(self._score_all(row[None])[0])
        whitened = row.dot(self._whitening)
        norm = math.sqrt(squared)
        nearness: list[float] = whitened.dot(self._twice_projected).tolist()
        nearest = max([near / norm - own for near, own in zip(nearness, self._listed, strict=True)])
        score: float = float(whitened.dot(whitened)) / squared - nearest
        return max(score, 0.0)

    def _score_all(self, rows: np.ndarray) -> np.ndarray:
        """Score float64 rows, which are written to."""
        whitened = _normalise(rows) @ self._whitening
        nearness = whitened @ self._twice_projected
        nearness -= self._squares
        distances: np.ndarray = np.vecdot(whitened, whitened)
        distances -= np.maximum.reduce(nearness, axis=1)
        np.maximum(distances, 0, out=distances)
        np.fmin(distances, np.inf, out=distances)  # a NaN becomes infinity
        return distances

    def _project(self) -> None:
        # |x - m|^2 = |x|^2 - (2 x m - |m|^2), where all but |x|^2 is the same for every row.
        projected = self._means @ self._whitening
        self._twice_projected = np.ascontiguousarray(2 * projected.T)
        self._squares = np.square(projected).sum(axis=1)
        self._listed = list(map(float, self._squares))


def _normalised(features: np.ndarray) -> np.ndarray:
    return _normalise(features.astype(np.float64))


def _normalise(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their lengths, in place."""
    # A row of zeros stays zeros; a row with an infinity becomes NaN, which `score` makes inf.
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.sqrt(np.vecdot(rows, rows))
        np.maximum(norms, _SMALLEST, out=norms)
        rows /= norms[:, None]
    return rows
