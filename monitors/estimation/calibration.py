"""From scores to probabilities that are right on average: isotonic or Platt's, with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import expit

Method = Literal["isotonic", "platt"]
_METHODS: Final[tuple[Method, ...]] = ("isotonic", "platt")
_HELD_OUT: Final = 3
"""One row in so many decides which method is better."""
_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A rising function of a score.

    Attributes:
        method: how it was found.
        knots: scores and probabilities between which isotonic values are interpolated, [2, k]; or
            slope and intercept of Platt's line, and 1 if that is of the log odds of scores, [3, 1].
    """

    method: Method
    knots: np.ndarray

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Return probabilities, float64 [n], of scores [n]."""
        if self.method == "isotonic":
            found: np.ndarray = np.interp(scores, self.knots[0], self.knots[1])
            return found
        slope, intercept, odds = self.knots[:, 0]
        logistic: np.ndarray = expit(slope * (_log_odds(scores) if odds else scores) + intercept)
        return logistic


def calibrator(
    scores: np.ndarray, hits: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> Calibrator:
    """Fit both methods to two thirds of the rows, and the better one of the last third to all.

    Sources: Zadrozny and Elkan (2002), "Transforming classifier scores into accurate multiclass
    probability estimates", KDD; Platt (1999), "Probabilistic outputs for support vector machines".

    Args:
        scores: of a class, [n]; Platt's line is of their log odds if all are from 0 to 1.
        hits: whether a row is of the class, 0 or 1, [n].
        weights: of the rows, [n], not negative.
        rng: of the split.
    """
    held = np.zeros(len(scores), np.bool_)
    held[rng.permutation(len(scores))[::_HELD_OUT]] = True
    losses = {}
    for method in _METHODS:
        found = _fit(method, scores[~held], hits[~held], weights[~held])
        losses[method] = float((weights[held] * (found.of(scores[held]) - hits[held]) ** 2).sum())
    return _fit(min(_METHODS, key=losses.__getitem__), scores, hits, weights)


def calibrated(calibrators: list[Calibrator], scores: np.ndarray) -> np.ndarray:
    """Return probabilities of all classes, [n, classes], whose rows sum to one.

    Args:
        calibrators: of class 1 where there are two classes, or else of each, one against the rest.
        scores: [n, classes].
    """
    if len(calibrators) == 1:
        one = calibrators[0].of(scores[:, 1])
        return np.column_stack((1 - one, one))
    found = np.column_stack([each.of(scores[:, at]) for at, each in enumerate(calibrators)])
    found = np.maximum(found, 1e-9)
    normalised: np.ndarray = found / found.sum(axis=1, keepdims=True)
    return normalised


def class_calibrators(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> list[Calibrator]:
    """Fit a calibrator to each class, one against the rest; to class 1 alone of two.

    Args:
        scores: [n, classes].
        labels: index of the true class, [n].
        weights: of the rows, [n].
        rng: see `calibrator`.
    """
    classes = scores.shape[1]
    which = [1] if classes == 2 else range(classes)
    return [
        calibrator(scores[:, at], (labels == at).astype(np.float64), weights, rng) for at in which
    ]


def check_can_be_calibrated(scores: np.ndarray, labels: np.ndarray) -> None:
    """Raise ValueError if scores or labels of the reference are all alike."""
    only = np.unique(labels)
    if len(only) < 2:
        raise ValueError(f"labels are all of class {only[0]}; the reference needs two classes")
    for at in range(scores.shape[1]):
        if np.ptp(scores[:, at]) == 0:
            raise ValueError(
                f"the score of class {at} is {scores[0, at]:g} in every row of the reference; "
                f"give one that varies"
            )


def _fit(method: Method, scores: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> Calibrator:
    fit = _isotonic if method == "isotonic" else _platt
    return Calibrator(method, fit(scores, hits, weights))


def _isotonic(scores: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from scipy.optimize import isotonic_regression  # only fitting needs it: 0.1 s of import

    at, place = np.unique(scores, return_inverse=True)
    mass = np.bincount(place, weights)
    there = mass > 0
    total = np.bincount(place, weights * hits)[there]
    at, mass = at[there], mass[there]
    found = isotonic_regression(total / mass, weights=mass)
    # Flat from the first to the last score of a block: then the probabilities of the rows of a
    # block sum to its hits, however unevenly scores lie in it.
    ends = np.column_stack((found.blocks[:-1], found.blocks[1:] - 1)).ravel()
    return np.stack((at[ends], found.x[ends]))


def _platt(scores: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit by Newton's method, with a weak prior that the line is the log odds already."""
    odds = bool(scores.min() >= 0 and scores.max() <= 1)
    line = _log_odds(scores) if odds else scores.astype(np.float64)
    design = np.column_stack((line, np.ones(len(line))))
    scaled = weights * weights.sum() / max(float((weights**2).sum()), 1e-12)
    prior = np.array([1.0, 0.0])

    def slope_of(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected = expit(design @ at)
        gradient = design.T @ (scaled * (hits - expected)) - (at - prior)
        curvature = (design.T * (scaled * expected * (1 - expected))) @ design + np.eye(2)
        return gradient, curvature

    # From 0, where no probability is saturated yet; halved where a step goes too far.
    found = np.zeros(2)
    gradient, curvature = slope_of(found)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature, gradient)
        while np.abs(step).max() > 1e-10:
            next_gradient, next_curvature = slope_of(found + step)
            if float(next_gradient @ step) > -0.5 * float(gradient @ step):
                break
            step /= 2
        else:
            break
        found, gradient, curvature = found + step, next_gradient, next_curvature
    return np.append(found, float(odds))[:, None]


def _log_odds(scores: np.ndarray) -> np.ndarray:
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    found: np.ndarray = np.log(inside) - np.log1p(-inside)
    return found
