"""How far up a ranking the relevant items stand: reciprocal rank and NDCG.

Items of the same score stand in the order of their indices.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.performance.row_scores import Measure

DEPTH: Final = 10
"""Items of a ranking that NDCG looks at."""


def reciprocal_rank(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return one over the rank of the first relevant item, float64 [n]; 0 where none is relevant.

    Args:
        predicted: scores of the items, float64 [n, k]; the largest comes first.
        truth: their relevances, float64 [n, k].
    """
    relevant = _ranked(predicted, truth) > 0
    first = relevant.argmax(axis=1) if relevant.size else np.zeros(len(relevant), np.int64)
    ranks: np.ndarray = np.where(relevant.any(axis=1), 1.0 / (first + 1), 0.0)
    return ranks


def ndcg(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the normalised discounted cumulative gain of the first items, float64 [n].

    Järvelin and Kekäläinen (2002), with the relevance as gain, as `sklearn.metrics.ndcg_score`
    has it. 0 where no item is relevant. Arguments as above.
    """
    best = _gain(-np.sort(-truth, axis=1))
    gain = _gain(_ranked(predicted, truth))
    found: np.ndarray = np.divide(gain, best, out=np.zeros(len(gain)), where=best > 0)
    return found


def _ranked(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    order = np.argsort(-predicted, axis=1, kind="stable")
    return np.take_along_axis(truth, order, axis=1)


def _gain(relevances: np.ndarray) -> np.ndarray:
    top = relevances[:, :DEPTH]
    discounts = 1 / np.log2(np.arange(top.shape[1]) + 2)
    gain: np.ndarray = (top * discounts).sum(axis=1)
    return gain


RANKING_SCORES: Final = (Measure("mrr", reciprocal_rank), Measure("ndcg", ndcg))
