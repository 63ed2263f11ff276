"""Scores over all labels of a model version, those of windows that are long over included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monitors.performance.row_scores import Measure, numbers
from monitors.rows import Corrections, Rows


class OverallScores:
    """Means of scores over every labelled row since the version was monitored first.

    Rows whose answer is no number have no score.

    Args:
        measures: what is scored.
    """

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._measures = measures
        self._rows = 0
        self._sums = [0.0] * len(measures)

    def add(self, rows: Rows) -> None:
        """Score labelled rows."""
        assert rows.predicted is not None
        assert rows.labels is not None
        known = numbers(rows.predicted)
        self._rows += int(known.sum())
        self._change(rows.predicted[known], rows.labels[known], 1)

    def revise(self, corrections: Corrections) -> None:
        """Score rows by the labels that they have now, and not by those that they had before."""
        rows = corrections.rows
        assert rows.predicted is not None
        assert rows.labels is not None
        # Where a row has no position its first label was taken in before scores were kept.
        which = numbers(rows.predicted) & (np.asarray(rows.positions) >= 0)
        self._change(rows.predicted[which], corrections.labels[which], -1)
        self._change(rows.predicted[which], rows.labels[which], 1)

    @property
    def scores(self) -> dict[str, float]:
        """The metrics by name; empty without rows."""
        if not self._rows:
            return {}
        return {
            measure.name: measure.shown(total / self._rows)
            for measure, total in zip(self._measures, self._sums, strict=True)
        }

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        sums = {each.name: total for each, total in zip(self._measures, self._sums, strict=True)}
        return {"rows": self._rows, "sums": sums}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, if it is of the same measures."""
        sums = state["sums"]
        if [measure.name for measure in self._measures] == list(sums):
            self._rows, self._sums = state["rows"], list(sums.values())

    def _change(self, predicted: np.ndarray, labels: np.ndarray, sign: int) -> None:
        for at, measure in enumerate(self._measures):
            self._sums[at] += sign * float(measure.of(predicted, labels).sum())
