"""The population stability index: how far two binned distributions lie apart (an effect size)."""

from __future__ import annotations

import numpy as np


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
