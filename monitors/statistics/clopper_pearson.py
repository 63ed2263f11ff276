"""Clopper and Pearson's bounds of proportions, many at once."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv


def clopper_pearson(
    hits: np.ndarray, rows: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds, each of which is wrong with a probability of at most `alpha`.

    0 and 1 without any row. Hits and rows need not be whole: rows that vary as much as f times
    fewer independent ones are counted as rows / f.

    Source: Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the
    case of the binomial", Biometrika 26(4).

    Args:
        hits, rows: [...], 0 <= hits <= rows.
        alpha: in (0, 1), of a shape that broadcasts.
    """
    hits, rows = np.minimum(hits, rows), np.asarray(rows, np.float64)
    others = rows - hits
    low = betaincinv(np.maximum(hits, 1e-12), others + 1, alpha)
    # The upper tail by symmetry: 1 - alpha would round to one.
    high = 1 - betaincinv(np.maximum(others, 1e-12), hits + 1, alpha)
    return np.where(hits > 0, low, 0.0), np.where(others > 0, high, 1.0)
