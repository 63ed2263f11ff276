"""Pearson's chi-square test that two samples have the same categories in the same shares."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtrc

from monitors.statistics.binned_kolmogorov_smirnov import binned_kolmogorov_smirnov


def chi_square(
    reference_counts: np.ndarray, current_counts: np.ndarray, least_expected: float = 5.0
) -> tuple[float, float]:
    """Test the homogeneity of two samples of category counts.

    Categories that expect fewer than `least_expected` rows in either sample are counted as one
    (Cochran (1954), "Some methods for strengthening the common chi-square tests", Biometrics
    10(4)). Should their sum still expect fewer, as with a category that is new in a short
    window, then it is tested by itself against all the rest, exactly; the p-value is twice the
    smaller of the two, which pays for both.

    Args:
        reference_counts: rows per category, integer [k].
        current_counts: the same for the current sample.
        least_expected: smallest expected count for which the chi-square distribution is trusted.

    Returns:
        The statistic over the well-filled categories and the p-value; (NaN, 1) when either
        sample is empty.
    """
    n, m = int(reference_counts.sum()), int(current_counts.sum())
    if not n or not m:
        return math.nan, 1.0
    table = np.stack((reference_counts, current_counts))
    needed = least_expected * (n + m) / min(n, m)
    sparse = table.sum(axis=0) < needed
    lump = table[:, sparse].sum(axis=1)
    filled = table[:, ~sparse]
    if lump.sum() >= needed:
        return _pearson(np.column_stack((filled, lump)))
    statistic, p_value = _pearson(filled)
    if not lump.any():
        return statistic, p_value
    halves = np.column_stack((table.sum(axis=1) - lump, lump))
    _, exact = binned_kolmogorov_smirnov(halves[0], halves[1])
    return statistic, min(2 * min(p_value, exact), 1.0)


def _pearson(table: np.ndarray) -> tuple[float, float]:
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float((np.square(table - expected) / expected).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))
