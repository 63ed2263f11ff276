"""Metrics of the guards of one model version, of those in the gateway and those beside the model.

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from guards.decisions import Action
from guards.runner import REASONS
from serving.channel.messages.inference import FLOAT32, GuardResult
from serving.telemetry.counters import MOST_LATE, HistogramSeries, SeriesSet, SumSeries
from serving.telemetry.metrics.guards import (
    GUARD_DECISIONS,
    GUARD_DURATION,
    GUARD_FAILURES,
    GUARD_SCORE,
)


class GuardSeries:
    """Counts what became of guards on batches.

    Args:
        series: where the series are kept.
        guards: names of the model's guards; their series exist from the start, but those of
            scores, which not every guard gives.
        model, version: attributes of every series.
    """

    def __init__(self, series: SeriesSet, guards: Iterable[str], model: str, version: str) -> None:
        self._series = series
        self._base = {"model": model, "version": version}
        self._durations: dict[str, HistogramSeries] = {}
        self._scores: dict[str, HistogramSeries] = {}
        self._decisions: dict[tuple[str, int], SumSeries] = {}
        self._failures: dict[tuple[str, str], SumSeries] = {}
        for guard in guards:
            of = {"guard": guard, **self._base}
            self._durations[guard] = series.histogram(GUARD_DURATION, **of)
            for action in (Action.SHADOW, Action.FLAG, Action.REJECT):
                self._decisions[guard, action] = series.sum(
                    GUARD_DECISIONS, action=action.name.lower(), **of
                )
            for reason in REASONS:
                self._failures[guard, reason] = series.sum(GUARD_FAILURES, reason=reason, **of)

    def judged(self, results: Iterable[GuardResult]) -> None:
        """Count what became of guards on one batch."""
        for result in results:
            guard = result.guard
            if result.nanoseconds:
                duration = self._durations[guard]
                duration.late.append(result.nanoseconds / 1e9)
                if len(duration.late) >= MOST_LATE:
                    duration.count_late()
            if result.rows:
                for _row, action, _reason in result.rows:
                    self._decisions[guard, action].add(1)
            if result.failure:
                self._failures[guard, result.failure].add(1)
            if result.scores:
                scores = self._scores.get(guard) or self._scores_of(guard)
                scores.late += np.frombuffer(result.scores, FLOAT32).tolist()
                if len(scores.late) >= MOST_LATE:
                    scores.count_late()

    def _scores_of(self, guard: str) -> HistogramSeries:
        scores = self._series.histogram(GUARD_SCORE, guard=guard, **self._base)
        self._scores[guard] = scores
        return scores
