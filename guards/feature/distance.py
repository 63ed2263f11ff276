"""Foreign inputs, by how far their penultimate features are from those of every reference row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Self

import numpy as np

from guards.decisions import MOST_SCORE, Action, Decisions
from guards.feature.ledoit_wolf import ledoit_wolf_covariance
from guards.guard import Needs, Stage
from guards.rows import Rows

MOST_REFERENCES: Final = 1000
"""Reference rows that a row is compared with; of more a sample is, as many of each class as of the
others as far as there are."""
_MOST_AXES: Final = 32
"""Axes along which reference rows vary most, and one for all the others of wider features."""
_RAW_SHARE: Final = 0.2
"""Part of the false positives that the second distance may have for itself."""
_ROUNDING: Final = 1e-24
_SMALLEST: Final = float(np.finfo(np.float64).tiny)
_REASON: Final = "the input is unlike the data the model was trained on"


class DistanceGuard:
    """Two distances of a row's features, each in multiples of what normal rows have.

    The first one is to the nearest reference row, along the direction of the features and the
    logarithm of their length, in units of the variation within classes: kNN of Sun et al. (2022),
    "Out-of-Distribution Detection with Deep Nearest Neighbors", in the space of Mueller and Hein
    (2025), "Mahalanobis++", with the length that theirs forgets. The second one is the Mahalanobis
    distance of the features as they are from the nearest class mean (Lee et al., 2018); it finds
    rows that are large in every direction, and has a fifth of the false positives at most.

    The larger one of the two counts. Its threshold is that of the class that the nearest reference
    row is of, where enough held-out rows are of it, so that no class has many more false positives
    than others.

    Detection is non-adaptive: an attacker who knows the model can aim for a reference row.

    Args:
        action: what happens to a row above the threshold.
    """

    name = "distance"
    stage = Stage.FEATURES
    needs = Needs(features=True)

    def __init__(self, action: Action = Action.FLAG) -> None:
        self.action = action
        self._near = _NearSpace(np.empty((0, 0)), np.empty((0, 0)))
        self._raw_whitening = np.empty((0, 0))
        self._raw_means = np.empty((0, 0))
        self._references = np.empty((0, 0))
        self._classes = np.empty(0, np.int64)
        self._units = np.empty((0, 2))
        self._thresholds = np.empty(0)
        self._project()

    def fit(self, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Self:
        """Learn the reference rows and how they vary.

        Args:
            features: penultimate activations, float [n, width].
            labels: class of each row, [n]; all alike where there are no classes.
            seed: of the sample of reference rows.

        Raises:
            ValueError: wrong shapes, non-finite features, or features that do not vary.
        """
        if features.ndim != 2 or labels.shape != (len(features),) or not len(features):
            raise ValueError("features must be [n, width] and labels [n], with n > 0")
        if not np.isfinite(features).all():
            raise ValueError("features to fit must be finite")
        rows = features.astype(np.float64)
        _, codes = np.unique(labels, return_inverse=True)
        self._near = _NearSpace.fitted(rows, codes)
        chosen = _sample(codes, np.random.default_rng(seed))
        self._references = self._near.of(rows[chosen])
        self._classes = codes[chosen]
        self._raw_whitening, self._raw_means = _whitened_means(rows, codes)
        self._thresholds = np.empty(0)
        self._project()
        return self

    def calibrate(self, features: np.ndarray, false_positive_rate: float) -> Self:
        """Set thresholds so that a new clean row is above its own with at most the given rate.

        A threshold is the ceil((n + 1) (1 - rate))-th smallest score of n held-out rows: those of
        the class, or all of them where the class has too few (Vovk et al., split conformal, and
        Mondrian). What one held-out set realises is bounded by `binomial_bounds`.

        Args:
            features: penultimate activations of rows that were not fitted, float [n, width].
            false_positive_rate: in (0, 1).

        Raises:
            ValueError: too few rows to support the rate.
        """
        if not 0 < false_positive_rate < 1:
            raise ValueError("false_positive_rate must be between 0 and 1")
        # The small slack undoes rounding of 1 - rate, which would cost a whole rank.
        need = math.ceil(1 / false_positive_rate - 1 - 1e-9)
        if len(features) < need:
            raise ValueError(
                f"a false positive rate of {false_positive_rate:g} needs at least {need} "
                f"held-out rows; got {len(features)}"
            )
        distances, classes = self._distances(features)
        if not np.isfinite(distances).all():
            raise ValueError("features of held-out rows must be finite")
        count = int(self._classes.max()) + 1
        own = [classes == each for each in range(count)]
        enough = [of if of.sum() >= need else np.ones(len(of), np.bool_) for of in own]
        near, raw = distances.T
        self._units = np.array([
            [_positive(np.quantile(near[of], 1 - false_positive_rate)),
             _positive(np.quantile(raw, 1 - _RAW_SHARE * false_positive_rate))]
            for of in enough
        ])  # fmt: skip
        scores = (distances / self._units[classes]).max(axis=1)
        rank = [math.ceil((of.sum() + 1) * (1 - false_positive_rate) - 1e-9) for of in enough]
        self._thresholds = np.array([
            _positive(np.sort(scores[of])[at - 1]) for of, at in zip(enough, rank, strict=True)
        ])  # fmt: skip
        return self

    def score(self, features: np.ndarray) -> np.ndarray:
        """Score rows in multiples of their thresholds: float [n, width] in, float64 [n] out.

        Infinite where features are not finite.

        Raises:
            ValueError: the guard is not calibrated, or the width differs from the fitted one.
        """
        if not len(self._thresholds):
            raise ValueError("the distance guard is not calibrated")
        distances, classes = self._distances(features)
        found: np.ndarray = (distances / self._units[classes]).max(axis=1)
        found /= self._thresholds[classes]
        return found

    def check(self, rows: Rows) -> Decisions:
        """Judge a batch by its features [n, width].

        Raises:
            ValueError: no features, a wrong width, or the guard is not calibrated.
        """
        if rows.features is None:
            raise ValueError("the distance guard needs the model's penultimate features")
        scores = self.score(rows.features)
        above = scores > 1
        action = np.zeros(len(scores), dtype=np.uint8)
        action[above] = self.action
        return Decisions(
            guard=self.name,
            action=action,
            reasons=dict.fromkeys(np.flatnonzero(above).tolist(), _REASON),
            # A score just above 1 stays above 1 in float32, so that nobody reads two verdicts.
            score=np.where(
                above,
                np.maximum(np.minimum(scores, MOST_SCORE).astype(np.float32), _ABOVE_ONE),
                np.minimum(scores, 1.0).astype(np.float32),
            ),
        )

    def _distances(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both distances [n, 2], and the class of the nearest reference row [n]."""
        width = len(self._raw_whitening)
        if features.ndim != 2 or features.shape[1] != width or not width:
            raise ValueError(f"features must be [n, {width}] (fitted width); got {features.shape}")
        rows = features.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            place = self._near.of(rows)
            # |x - r|^2 = |x|^2 - (2 x r - |r|^2), where all but |x|^2 is a table.
            nearness = place @ self._twice_references
            nearness -= self._reference_squares
            nearest = nearness.argmax(axis=1)
            # Anew, without the table: where rows are alike its rounding would show.
            apart = place - self._references[nearest]
            near = np.vecdot(apart, apart)
            white = rows @ self._raw_whitening
            classes = white @ self._twice_means
            classes -= self._mean_squares
            raw = np.vecdot(white, white) - classes.max(axis=1)
            found = np.sqrt(np.maximum(np.stack((near, raw), axis=1), 0.0))
        found[~np.isfinite(found)] = np.inf
        return found, self._classes[nearest]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything that was learned, as arrays that a safetensors file can hold."""
        return {
            "whitening": self._near.whitening.copy(),
            "axes": self._near.axes.copy(),
            "references": self._references.copy(),
            "classes": self._classes.copy(),
            "raw_whitening": self._raw_whitening.copy(),
            "raw_means": self._raw_means.copy(),
            "units": self._units.copy(),
            "thresholds": self._thresholds.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], action: Action = Action.FLAG) -> Self:
        """Return a guard that scores exactly as the one `to_arrays` was called on.

        Raises:
            ValueError: the arrays do not belong together.
        """
        guard = cls(action)
        guard._near = _NearSpace(
            np.array(arrays["whitening"], np.float64), np.array(arrays["axes"], np.float64)
        )
        guard._references = np.array(arrays["references"], np.float64)
        guard._classes = np.array(arrays["classes"], np.int64)
        guard._raw_whitening = np.array(arrays["raw_whitening"], np.float64)
        guard._raw_means = np.array(arrays["raw_means"], np.float64)
        guard._units = np.array(arrays["units"], np.float64)
        guard._thresholds = np.array(arrays["thresholds"], np.float64)
        width, count = len(guard._raw_whitening), len(guard._thresholds)
        if (
            guard._near.whitening.shape[0] != width + 1
            or guard._units.shape != (count, 2)
            or guard._classes.shape != (len(guard._references),)
            or guard._classes.max() >= count
        ):
            raise ValueError("what the distance guard learned does not belong together")
        guard._project()
        return guard

    def _project(self) -> None:
        self._twice_references = np.ascontiguousarray(2 * self._references.T)
        self._reference_squares = np.square(self._references).sum(axis=1)
        self._twice_means = np.ascontiguousarray(2 * self._raw_means.T)
        self._mean_squares = np.square(self._raw_means).sum(axis=1)


class _NearSpace:
    """Where rows are compared: direction and length of their features, in units of classes.

    Attributes:
        whitening: of direction and logarithm of the length, [width + 1, width + 1].
        axes: of whitened rows, [width + 1, axes]; no columns: all of them are kept.
    """

    def __init__(self, whitening: np.ndarray, axes: np.ndarray) -> None:
        self.whitening, self.axes = whitening, axes

    @classmethod
    def fitted(cls, rows: np.ndarray, codes: np.ndarray) -> _NearSpace:
        """Return the space of rows, float64 [n, width], and their classes, from 0 on [n]."""
        places = _directions(rows)
        whitening = _whitening(places, _means(places, codes)[codes])
        axes = np.empty((len(whitening), 0))
        if len(whitening) > _MOST_AXES:
            white = places @ whitening
            _, _, right = np.linalg.svd(white - white.mean(axis=0), full_matrices=False)
            axes = right[: _MOST_AXES - 1].T.copy()
        return cls(whitening, axes)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return where rows are, float64 [n, axes]."""
        white: np.ndarray = _directions(rows) @ self.whitening
        if not self.axes.shape[1]:
            return white
        kept = white @ self.axes
        rest = np.vecdot(white, white) - np.vecdot(kept, kept)
        return np.column_stack((kept, np.sqrt(np.maximum(rest, 0.0))))


def _directions(rows: np.ndarray) -> np.ndarray:
    """Return rows divided by their lengths, with the logarithm of these, [n, width + 1]."""
    found = np.empty((len(rows), rows.shape[1] + 1))
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.maximum(np.sqrt(np.vecdot(rows, rows)), _SMALLEST)
        np.divide(rows, lengths[:, None], out=found[:, :-1])
        np.log(lengths, out=found[:, -1])
    return found


def _whitened_means(rows: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    means = _means(rows, codes)
    whitening = _whitening(rows, means[codes])
    return whitening, means @ whitening


def _means(rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.stack([rows[codes == each].mean(axis=0) for each in range(int(codes.max()) + 1)])


def _whitening(rows: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Return what makes the variation of rows around theirs the unit of every direction.

    Raises:
        ValueError: there is none.
    """
    covariance = ledoit_wolf_covariance(rows - middles)
    # Rows that are alike differ from their mean by its rounding.
    if not np.trace(covariance) > _ROUNDING * np.square(rows).sum(axis=1).mean():
        raise ValueError("features do not vary within classes")
    # inv(L).T whitens: |(x - m) inv(L).T|^2 = (x - m) inv(L L.T) (x - m).T
    found: np.ndarray = np.linalg.inv(np.linalg.cholesky(covariance)).T.copy()
    return found


def _sample(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which rows are compared with, rising: the same number of each class if possible."""
    order = rng.permutation(len(codes))
    # The how-manieth of its class each row is, in a random order.
    place = np.empty(len(codes), np.int64)
    for each in range(int(codes.max()) + 1):
        of = order[codes[order] == each]
        place[of] = np.arange(len(of))
    chosen: np.ndarray = np.sort(order[np.argsort(place[order], kind="stable")[:MOST_REFERENCES]])
    return chosen


def _positive(value: float) -> float:
    return max(float(value), _SMALLEST)


_ABOVE_ONE: Final = np.nextafter(np.float32(1), np.float32(2))
