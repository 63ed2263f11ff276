"""How improbable a difference is when tails are heavier than Gauss's, as a normal score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from monitors.alarms.standardized import Array

EXCEEDED: Final = 3.0
"""Standard deviations beyond which differences are the tail that an index is fitted to."""

_PRIOR: Final = 40.0
"""Differences that the expected kurtosis counts for."""

_ENOUGH: Final = 150.0
"""Differences without which the tail's index is not used."""


@dataclass(frozen=True, slots=True)
class Tails:
    """Tails of standardised differences, all arrays of one shape.

    Attributes:
        df: degrees of freedom of Student's t that has their kurtosis.
        index: of the power law beyond `EXCEEDED`; 0 where the tail is light.
        beyond: share of differences beyond `EXCEEDED`.
    """

    df: Array
    index: Array
    beyond: Array

    @classmethod
    def of(
        cls, n: Array, fourth: Array, second: Array, count: Array, logs: Array, *, prior: Array
    ) -> Tails:
        """Return the tails of differences that were summed up.

        The index is Hill's (1975), "A simple general approach to inference about the tail of a
        distribution", Annals of Statistics 3(5), raised by its standard error. It is used only
        where the kurtosis exceeds Gauss's by more than two of its standard errors.

        Args:
            n: how many.
            fourth, second: sums of their fourth and second powers.
            count: how many exceed `EXCEEDED`.
            logs: sum of the logarithms of these over `EXCEEDED`.
            prior: kurtosis that is expected before there are many.
        """
        own = np.where(second > 0, n * fourth / np.where(second > 0, second, 1.0) ** 2, 3.0)
        kurtosis = (n * own + _PRIOR * prior) / (n + _PRIOR)
        excess = np.maximum(kurtosis - 3 - np.where(n > 0, 2 * np.sqrt(24 / (n + _PRIOR)), 0), 0.0)
        df = 4 + 6 / np.maximum(excess, 1e-9)
        heavy = (excess > 0) & (n > _ENOUGH)
        index = (logs + 0.3) / (count + 3) * (1 + 1 / np.sqrt(count + 3))
        return cls(
            df=df,
            index=np.where(heavy, index, 0.0),
            beyond=(count + 1) / (n + 370),
        )

    def paying(self, n: Array) -> Tails:
        """Return them with fewer degrees of freedom: the variance is that of `n` differences."""
        return replace(self, df=1 / (1 / self.df + 1 / np.maximum(n, 1.0)))

    def thresholds(self, score: Array) -> Array:
        """Return the standardised differences whose scores are `score`, of the arrays' shape."""
        student = _student_threshold(score, self.df)
        with np.errstate(divide="ignore", over="ignore"):
            power = EXCEEDED * (self.beyond / p_value(score)) ** self.index
        return np.where(self.index > 0, np.maximum(student, power), student)

    def scores(self, z: Array, at: int | slice) -> Array:
        """Return the standard normal values that are as improbable as `z`, not negative."""
        size = np.abs(z)
        score = student_score(size, self.df[at])
        index = self.index[at]
        heavy = (index > 0) & (size > EXCEEDED)
        if heavy.any():
            p = self.beyond[at][heavy] * (size[heavy] / EXCEEDED) ** (-1 / index[heavy])
            score[heavy] = np.minimum(score[heavy], -ndtri(np.maximum(p, 1e-300) / 2))
        return score


def _student_threshold(score: Array, df: Array) -> Array:
    """Return the t whose `student_score` is `score`."""
    with np.errstate(over="ignore"):
        inner = np.expm1((score * (8 * df + 3) / (8 * df + 1)) ** 2 / df)
    threshold: Array = np.sqrt(df * inner)
    return threshold


def student_score(t: Array, df: Array) -> Array:
    """Return the normal values that are as improbable as Student's t, with an error below 2 %.

    Wallace (1959), "Bounds on normal approximations to Student's and the chi-square
    distributions", Annals of Mathematical Statistics 30(4).
    """
    score: Array = (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t * t / df))
    return score


def p_value(score: Array) -> Array:
    """Return the two-sided p-value of a normal score."""
    p: Array = 2 * ndtr(-np.abs(score))
    return p
