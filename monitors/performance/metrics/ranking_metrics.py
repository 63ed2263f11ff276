"""Metrics of rankings: means over the rows of how far up the relevant items stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from monitors.performance.metrics.estimate import Estimate, Level, Metric, Outcomes, mean
from monitors.performance.metrics.number_metrics import NO_NUMBERS
from monitors.performance.metrics.sums import add_in_order
from monitors.performance.ranking import RANKING_SCORES
from monitors.performance.row_scores import Measure, numbers


class RankingCounts:
    """Sums over rows with relevances, and what can be told of them; see `Counts`.

    Rows whose scores are no numbers have no rank; the monitor of quality counts them.
    """

    def __init__(self) -> None:
        self.columns = 1 + 2 * len(RANKING_SCORES)
        self.signature: list[Any] = ["ranking", *(each.name for each in RANKING_SCORES)]
        self.metrics = tuple(
            _metric(each, 1 + 2 * at) for at, each in enumerate(RANKING_SCORES)
        )  # fmt: skip

    def add(self, sums: np.ndarray, outcomes: Outcomes, amount: float = 1.0) -> None:
        """Count rows; see `Counts`."""
        predicted, labels, _ = outcomes
        known = numbers(np.asarray(predicted, np.float64))
        predicted, labels = predicted[known], labels[known]
        if not len(labels):
            return
        sums[0] += amount * len(labels)
        for at, each in enumerate(RANKING_SCORES):
            score = each.of(predicted, labels)
            both = np.stack([score, score**2], axis=1)
            add_in_order(sums, slice(1 + 2 * at, 3 + 2 * at), both, amount)

    def state(self) -> list[Any]:
        """Return nothing: counting learns nothing."""
        return []

    def restore(self, state: list[Any]) -> None:
        """Do nothing."""


def _metric(measure: Measure, at: int) -> Metric:
    def estimate(sums: np.ndarray, level: Level) -> Estimate:
        return mean(sums[:, at], sums[:, at + 1], sums[:, 0], level)

    def why(sums: np.ndarray) -> str:
        return NO_NUMBERS

    return Metric(name=measure.name, direction="below", of=estimate, why=why)
