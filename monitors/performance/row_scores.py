"""Scores of single labelled rows whose mean is a metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of a labelled row, and what is told of its mean.

    Attributes:
        name: the metric.
        of: takes what was predicted and what was true, float64 [n] or [n, k]; returns [n].
        root: whether the metric is the square root of the mean.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    root: bool = False

    def shown(self, mean: float) -> float:
        """Return the metric of a mean."""
        return math.sqrt(max(mean, 0.0)) if self.root else mean


CLASS_SCORES: Final = (Measure("accuracy", lambda predicted, truth: predicted == truth),)


def numbers(predicted: np.ndarray) -> np.ndarray:
    """Return which rows are numbers, bool [n]; of [n, k] those that are all numbers."""
    finite = np.isfinite(predicted).reshape(len(predicted), math.prod(predicted.shape[1:]))
    fine: np.ndarray = finite.all(axis=1)
    return fine
