"""Covariance from few rows: the sample covariance shrunk towards a multiple of the identity."""

from __future__ import annotations

import numpy as np


def ledoit_wolf_covariance(residuals: np.ndarray) -> np.ndarray:
    """Estimate a covariance with the shrinkage that minimises the expected squared error.

    Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 88(2), theorem 3.2 and lemmas 3.2 to 3.5.

    Args:
        residuals: centred rows, float [n, width].

    Returns:
        float64 [width, width]; positive definite unless all residuals are zero.
    """
    rows = residuals.astype(np.float64)
    n, width = rows.shape
    sample: np.ndarray = rows.T @ rows / n
    scale = float(np.trace(sample)) / width
    distance = float(np.square(sample - scale * np.eye(width)).sum())
    if distance == 0:
        return sample
    fourth = float(np.square(np.square(rows).sum(axis=1)).mean())
    error = (fourth - float(np.square(sample).sum())) / n
    shrinkage = min(max(error / distance, 0.0), 1.0)
    shrunk: np.ndarray = (1 - shrinkage) * sample + shrinkage * scale * np.eye(width)
    return shrunk
