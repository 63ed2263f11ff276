"""Adding numbers one after the other, so that a sum does not depend on the batches."""

from __future__ import annotations

import numpy as np


def add_in_order(sums: np.ndarray, at: slice, values: np.ndarray, amount: float = 1.0) -> None:
    """Add the rows of [n, k] to k places of a vector, the first row first.

    Args:
        sums: float64; changed.
        at: the k places.
        values: float64 [n, k].
        amount: what each row is multiplied by.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stacked = np.concatenate([sums[np.newaxis, at], amount * values])
        # A plain sum adds in pairs, and which ones are pairs depends on the batch.
        sums[at] = np.add.accumulate(stacked, axis=0)[-1]
