"""Pearson's chi-square test that two samples have the same categories in the same shares."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtrc


def chi_square(
    reference_counts: np.ndarray, current_counts: np.ndarray, least_expected: float = 5.0
) -> tuple[float, float]:
    """Test the homogeneity of two samples of category counts.

    Categories that expect fewer than `least_expected` rows in either sample are counted as one
    (Cochran (1954), "Some methods for strengthening the common chi-square tests", Biometrics
    10(4)); should their sum still expect fewer, it joins the next smallest category.

    Args:
        reference_counts: rows per category, integer [k].
        current_counts: the same for the current sample.
        least_expected: smallest expected count that stands by itself.

    Returns:
        The statistic and its p-value; (NaN, 1) when either sample is empty, and (0, 1) when
        fewer than two categories are left.
    """
    n, m = int(reference_counts.sum()), int(current_counts.sum())
    if not n or not m:
        return math.nan, 1.0
    table = np.stack((reference_counts, current_counts)).astype(np.float64)
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    expected = table.sum(axis=0) * (min(n, m) / (n + m))
    small = int((expected < least_expected).sum())
    while 0 < small < len(expected) and expected[:small].sum() < least_expected:
        small += 1
    if small:
        table = np.column_stack((table[:, :small].sum(axis=1), table[:, small:]))
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0, 1.0
    expectation = np.outer([n, m], table.sum(axis=0)) / (n + m)
    statistic = float((np.square(table - expectation) / expectation).sum())
    return statistic, float(chdtrc(table.shape[1] - 1, statistic))
