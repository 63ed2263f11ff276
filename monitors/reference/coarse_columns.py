"""Columns in few bins, as people would name them: no tails, no buckets, nothing unseen."""

from __future__ import annotations

from collections import Counter

import numpy as np

from monitors.reference.categorical_column import OWN_BIN_ROWS, CategoricalColumn, as_text
from monitors.reference.numeric_column import NumericColumn, fit_bins, quantile_edges

Coarse = NumericColumn | CategoricalColumn


def coarse_column(values: np.ndarray, max_bins: int) -> Coarse:
    """Return quantile bins of numbers, or the most frequent values of anything else.

    Args:
        values: [n] numbers (NaN is missing), text, bytes or objects (None is).
        max_bins: most bins; infinite, missing and other values have more.
    """
    given = plain(values)
    if given.dtype.kind == "f":
        return fit_bins(given, quantile_edges(given[np.isfinite(given)], max_bins, tails=False))
    seen = Counter(text for text in map(as_text, given.tolist()) if text is not None)
    ranked = sorted(seen, key=lambda text: (-seen[text], text))
    own = tuple(text for text in ranked[:max_bins] if seen[text] >= OWN_BIN_ROWS)
    empty = CategoricalColumn(own, np.zeros(len(own) + 2, np.int64))
    return CategoricalColumn(own, np.bincount(empty.codes(given), minlength=empty.bins))


def plain(values: np.ndarray) -> np.ndarray:
    """Return numbers as float64, and anything else as it is."""
    return values.astype(np.float64) if values.dtype.kind in "biuf" else values
