"""Completeness: attributions must add up to the change of the output that they explain."""

from __future__ import annotations

import numpy as np

SMALLEST_DIFFERENCE = 1e-3
"""Output differences below this count as this: relative to nearly nothing every error is huge."""


def relative_completeness_error(delta: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Return |delta| over the size of the explained difference, per row.

    Sundararajan, Taly and Yan (2017), "Axiomatic Attribution for Deep Networks", section 3.

    Args:
        delta: sum of the attributions minus the output difference, float [n].
        difference: output at the input minus output at the baseline, float [n].
    """
    error: np.ndarray = np.abs(delta) / np.maximum(np.abs(difference), SMALLEST_DIFFERENCE)
    return error
