"""How far numbers are from the truth: mean absolute and root mean squared error.

Of several numbers a row, its error is their mean (scikit-learn's `uniform_average` of
`mean_absolute_error`; the root is taken of the mean over rows and numbers).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.performance.row_scores import Measure


def absolute_error(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean absolute error of each row, float64 [n].

    Args:
        predicted, truth: float64 [n] or [n, k].
    """
    return _row_means(np.abs(predicted - truth))


def squared_error(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each row, float64 [n]; arguments as above."""
    return _row_means((predicted - truth) ** 2)


def quantile_loss(predicted: np.ndarray, truth: np.ndarray, quantile: float) -> np.ndarray:
    """Return the mean quantile loss of each row, float64 [n]; also called pinball loss.

    Args:
        predicted, truth: as above.
        quantile: that is predicted, in (0, 1).
    """
    apart = truth - predicted
    return _row_means(np.maximum(quantile * apart, (quantile - 1) * apart))


def _row_means(values: np.ndarray) -> np.ndarray:
    means: np.ndarray = values.reshape(len(values), -1).mean(axis=1) if len(values) else values
    return means


REGRESSION_ERRORS: Final = (
    Measure("mae", absolute_error),
    Measure("rmse", squared_error, root=True),
)
