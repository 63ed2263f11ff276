"""AUROC and average precision from histograms of scores, in constant memory.

A score falls in one of 200 bins, which lie close to each other near 0 and 1, where scores of good
models are. Rows of one bin count as ties. How far a figure may be from that of the exact scores is
told with it (`auroc_error`, `average_precision_error`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import expit, softmax

_EVEN: Final = np.linspace(0, 1, 101)[1:-1]
_OUTER: Final = expit(np.linspace(-14, 14, 101))
EDGES: Final = np.unique(np.concatenate([_EVEN, np.delete(_OUTER, 50)]))
"""Upper edges of the bins without the last one: even ones, and even ones of the log odds."""
BINS: Final = len(EDGES) + 1


def probabilities(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as probabilities, and which rows were probabilities already.

    Args:
        scores: float64 [n, classes]; finite.

    Returns:
        [n, classes], of other rows the softmax; bool [n].
    """
    proper = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= 1e-3)
    shown = scores.copy()
    shown[~proper] = softmax(scores[~proper], axis=1)
    return shown, proper


def auroc(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the area under the ROC curve, its standard error, and the rows it is worth.

    Standard errors are those of DeLong, DeLong and Clarke-Pearson (1988), "Comparing the areas
    under two or more correlated receiver operating characteristic curves", Biometrics 44(3).

    Args:
        histogram: rows by bin, of other classes and of the class: [..., 2, BINS].

    Returns:
        [...] each; NaN where a class is missing. A share of as many rows has the same error.
    """
    others, own = histogram[..., 0, :], histogram[..., 1, :]
    n, m = others.sum(axis=-1), own.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # How often each row of the class, and each other one, is on the right side of the rest.
        of_own = (np.cumsum(others, axis=-1) - others / 2) / n[..., None]
        above = m[..., None] - np.cumsum(own, axis=-1) + own / 2
        of_others = above / m[..., None]
        area = (own * of_own).sum(axis=-1) / m
        spread = [
            (rows * (part - area[..., None]) ** 2).sum(axis=-1) / np.maximum(count - 1, 1) / count
            for rows, part, count in ((own, of_own, m), (others, of_others, n))
        ]
        variance = spread[0] + spread[1]
        worth = np.where(variance > 0, area * (1 - area) / variance, np.minimum(n, m))
    return area, np.sqrt(variance), np.minimum(worth, n + m)


def auroc_error(histogram: np.ndarray) -> np.ndarray:
    """Return how far `auroc` may be from that of the exact scores, [...]."""
    others, own = histogram[..., 0, :], histogram[..., 1, :]
    ties = (others * own).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error: np.ndarray = ties / 2 / (others.sum(axis=-1) * own.sum(axis=-1))
    return error


def average_precision(histogram: np.ndarray) -> np.ndarray:
    """Return the average precision (AUPRC), [...]; NaN where a class is missing."""
    own, before, others, falsely = _falling(histogram)
    return _area(own, before + own, falsely + others, others.sum(axis=-1))


def average_precision_error(histogram: np.ndarray) -> np.ndarray:
    """Return how far `average_precision` may be from that of the exact scores, [...]."""
    own, before, others, falsely = _falling(histogram)
    total = others.sum(axis=-1)
    found = _area(own, before + own, falsely + others, total)
    # Of a bin the rows of the class may all come first, or all last.
    best = _area(own, before + own, falsely, total)
    worst = _area(own, before + np.minimum(own, 1), falsely + others, total)
    error: np.ndarray = np.maximum(best - found, found - worst)
    return error


def _falling(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of the class by bin, the highest first, those before; the same of others."""
    others, own = histogram[..., 0, ::-1], histogram[..., 1, ::-1]
    return own, np.cumsum(own, axis=-1) - own, others, np.cumsum(others, axis=-1) - others


def _area(own: np.ndarray, true: np.ndarray, false: np.ndarray, others: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(own > 0, true / (true + false), 0.0)
        area = (own * precision).sum(axis=-1) / own.sum(axis=-1)
    return np.where(others > 0, area, np.nan)
