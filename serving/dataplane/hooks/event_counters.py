"""Counters of single events of a model's queue and guards, which are about no one request."""

from __future__ import annotations

from guards.decisions import Action
from serving.channel.messages.inference import GuardResult
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet, SumSeries


class EventCounters:
    """Counts into one model version's series.

    Args:
        series: where the series are kept.
        model, version: the attributes of every series.
        guards: names of the model's guards; their series exist from the start.
    """

    def __init__(
        self, series: SeriesSet, model: str, version: str, guards: tuple[str, ...]
    ) -> None:
        base = {"model": model, "version": version}
        self._retries = series.sum(names.RETRIES, **base)
        self._deadly = series.sum(names.QUERIES_OF_DEATH, **base)
        self._abandoned = {
            reason: series.sum(names.QUEUE_ROWS_ABANDONED, reason=reason, **base)
            for reason in names.ABANDONED_REASONS
        }
        self._guard_duration = {
            guard: series.histogram(names.GUARD_DURATION, guard=guard, **base) for guard in guards
        }
        self._decisions: dict[tuple[str, int], SumSeries] = {
            (guard, action): series.sum(
                names.GUARD_DECISIONS, guard=guard, action=action.name.lower(), **base
            )
            for guard in guards
            for action in (Action.SHADOW, Action.FLAG, Action.REJECT)
        }

    def guard_time(self, guard: str, nanoseconds: int) -> None:
        """Record how long a guard took on a batch."""
        self._guard_duration[guard].record(nanoseconds / 1e9)

    def guard_decisions(self, result: GuardResult) -> None:
        """Count decisions per row."""
        for _row, action, _reason in result.rows:
            self._decisions[result.guard, action].add(1)

    def retried(self, requests: int) -> None:
        """Count requests that got a second try."""
        self._retries.add(requests)

    def deadly(self) -> None:
        """Count a request that ends replicas."""
        self._deadly.add(1)

    def abandoned(self, reason: str, rows: int) -> None:
        """Count rows that waited in vain."""
        self._abandoned[reason].add(rows)
