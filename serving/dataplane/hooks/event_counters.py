"""Counters of single events of a model's queue and guards, which are about no one request."""

from __future__ import annotations

from serving.dataplane.hooks.guard_series import GuardSeries
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import (
    ABANDONED_REASONS,
    QUERIES_OF_DEATH,
    QUEUE_ROWS_ABANDONED,
    RETRIES,
)


class EventCounters:
    """Counts into one model version's series.

    Args:
        series: where the series are kept.
        model, version: the attributes of every series.
        guards: names of the model's guards; their series exist from the start.

    Attributes:
        guards: counts what became of guards on batches.
    """

    def __init__(
        self, series: SeriesSet, model: str, version: str, guards: tuple[str, ...]
    ) -> None:
        base = {"model": model, "version": version}
        self._retries = series.sum(RETRIES, **base)
        self._deadly = series.sum(QUERIES_OF_DEATH, **base)
        self._abandoned = {
            reason: series.sum(QUEUE_ROWS_ABANDONED, reason=reason, **base)
            for reason in ABANDONED_REASONS
        }
        self.guards = GuardSeries(series, guards, model, version)

    def retried(self, requests: int) -> None:
        """Count requests that got a second try."""
        self._retries.add(requests)

    def deadly(self) -> None:
        """Count a request that ends replicas."""
        self._deadly.add(1)

    def abandoned(self, reason: str, rows: int) -> None:
        """Count rows that waited in vain."""
        self._abandoned[reason].add(rows)
