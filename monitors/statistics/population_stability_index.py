"""The population stability index: how far two binned distributions lie apart (an effect size)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def population_stability_index(
    reference_counts: np.ndarray, current_counts: np.ndarray
) -> np.ndarray:
    """Return sum((q - p) ln(q / p)) over the bins, the symmetrised Kullback-Leibler divergence.

    Both distributions are moved towards their pool by the weight of one row, which keeps a bin
    that is empty on one side finite and gives a bin that is empty on both no weight at all.
    With no change at all the index is about (bins - 1) (1 / n_reference + 1 / n_current), so it
    is an effect size and no test. Siddiqi (2006), "Credit Risk Scorecards", chapter 9.

    Args:
        reference_counts: rows per bin, integer [..., bins].
        current_counts: the same for the current rows.

    Returns:
        float64 [...], NaN where either side has no rows.
    """
    reference, current = reference_counts.astype(np.float64), current_counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        pool = _shares(reference + current)
        p, q = _shares(reference + pool), _shares(current + pool)
        terms = np.where(pool > 0, (q - p) * np.log(q / p), 0.0)
    psi: np.ndarray = terms.sum(axis=-1)
    empty = (reference.sum(axis=-1) == 0) | (current.sum(axis=-1) == 0)
    return np.where(empty, np.nan, psi)


def _shares(counts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = counts / counts.sum(axis=-1, keepdims=True)
    return shares


def debiased_population_stability_index(
    reference_counts: np.ndarray,
    current_counts: np.ndarray,
    factor: np.ndarray | float = 1.0,
    confidence: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the index less what it is without any change, and how far its interval reaches.

    Without a change the index is on average (filled bins - 1) (1 / n_reference + 1 / n_current),
    which is subtracted; so the result is zero on average, and may be negative. Its variance is
    that of the delta method plus that of the index without a change, which is a chi-square
    variable to first order: 2 (filled bins - 1) (1 / n_reference + 1 / n_current)^2. Bins that
    expect fewer than about ten rows add more than that.

    Args:
        reference_counts: rows per bin, integer [..., bins].
        current_counts: the same for the current rows.
        factor: how many times the counts of current rows vary as those of independent rows do,
            [...].
        confidence: of the interval, which is normal.

    Returns:
        The index and half the width of its interval, float64 [...]; NaN where either side has no
        rows.
    """
    index = population_stability_index(reference_counts, current_counts)
    reference, current = reference_counts.astype(np.float64), current_counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        n = reference.sum(axis=-1)
        m = current.sum(axis=-1) / np.maximum(factor, 1.0)
        pool = _shares(reference + current)
        p, q = _shares(reference + pool), _shares(current + pool)
        ratio = np.where(pool > 0, q / p, 1.0)
        by_current, by_reference = np.log(ratio) - 1 / ratio, -np.log(ratio) - ratio
        degrees, noise = (pool > 0).sum(axis=-1) - 1, 1 / n + 1 / m
        variance = _variance(by_current, q) / m + _variance(by_reference, p) / n
        variance += 2 * degrees * noise**2
        value = np.where(np.isnan(index), np.nan, index - degrees * noise)
        reach = np.where(np.isnan(index), np.nan, np.sqrt(variance))
    return value, reach * ndtri((1 + confidence) / 2)


def _variance(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = (values * weights).sum(axis=-1, keepdims=True)
    variance: np.ndarray = ((values - mean) ** 2 * weights).sum(axis=-1)
    return variance
