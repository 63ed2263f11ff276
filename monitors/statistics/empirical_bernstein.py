"""How far the mean of bounded numbers may be from its expectation, however skewed they are."""

from __future__ import annotations

import numpy as np


def empirical_bernstein(
    variance: np.ndarray, rows: np.ndarray, span: float, alpha: np.ndarray
) -> np.ndarray:
    """Return the reach of one-sided bounds of means.

    They hold at any level for any distribution, where Student's intervals hold only for means that
    are nearly normal: far out, skewed numbers never are.

    Source: Maurer and Pontil (2009), "Empirical Bernstein bounds and sample variance
    penalization", theorem 4.

    Args:
        variance: of the numbers, as estimated without bias.
        rows: independent numbers that a mean is of; above 1.
        span: of the interval that holds all numbers.
        alpha: probability that a bound is wrong.
    """
    wrong = np.log(2 / alpha)
    reach: np.ndarray = np.sqrt(2 * variance * wrong / rows) + 7 * span * wrong / (3 * (rows - 1))
    return reach
