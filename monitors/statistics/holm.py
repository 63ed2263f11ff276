"""Holm's correction: many tests, one bound on the chance of any false alarm."""

from __future__ import annotations

import numpy as np


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted so that "any of them <= alpha" has probability <= alpha by chance.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6(2). Holds under any dependence between the tests.

    Args:
        p_values: float [k], none of them NaN.

    Returns:
        float64 [k] in the same order, at most 1.
    """
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
