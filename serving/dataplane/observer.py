"""What the data plane tells metrics and monitors, once per batch and never per request."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from guards.decisions import Action
from serving.channel.inference import GuardResult
from serving.dataplane.batch import Batch, BatchResult
from serving.dataplane.publisher import EventPublisher
from serving.telemetry import names
from serving.telemetry.counters import (
    BATCH_BOUNDS,
    LATENCY_BOUNDS_S,
    HistogramSeries,
    SeriesSet,
    SumSeries,
)


class BatchObserver(Protocol):
    """Told by a model's queue what happens to batches; must be quick and must not raise."""

    def guard_time(self, guard: str, nanoseconds: int) -> None:
        """A gateway guard has checked a batch."""

    def guard_decisions(self, result: GuardResult) -> None:
        """A guard did not let every row pass."""

    def retried(self, requests: int) -> None:
        """Requests of a lost replica go to another one."""

    def answered(self, batch: Batch, answered: Batch, result: BatchResult) -> None:
        """A result came back; `answered` is `batch` without the requests that failed."""


class ModelObserver:
    """Counts into one model version's series and publishes its events.

    Args:
        model, version: the attributes of every series.
        series: where the series are kept.
        publisher: takes prediction events; None when nobody monitors this model.
        classes: guards of the model, so that no client can create a series.
    """

    def __init__(
        self,
        model: str,
        version: str,
        series: SeriesSet,
        publisher: EventPublisher | None,
        guards: tuple[str, ...],
    ) -> None:
        self._model, self._version = model, version
        self._publisher = publisher
        base = (("model", model), ("version", version))
        self._series = series
        self._base = base
        self._queue = self._histogram(names.QUEUE_DURATION, LATENCY_BOUNDS_S, "s")
        self._compute = self._histogram(names.COMPUTE_DURATION, LATENCY_BOUNDS_S, "s")
        self._batch_rows = self._histogram(names.BATCH_ROWS, BATCH_BOUNDS, "{row}")
        self._rows = self._sum(names.INFERENCE_ROWS, "{row}")
        self._retries = self._sum(names.RETRIES, "{request}")
        self._guard_duration = {
            guard: self._histogram(names.GUARD_DURATION, LATENCY_BOUNDS_S, "s", ("guard", guard))
            for guard in guards
        }
        self._decisions = {
            (guard, action): self._sum(
                names.GUARD_DECISIONS, "{row}", ("guard", guard), ("action", action.name.lower())
            )
            for guard in guards
            for action in (Action.SHADOW, Action.FLAG, Action.REJECT)
        }
        self._model_guards = guards

    def _histogram(
        self, name: str, bounds: tuple[float, ...], unit: str, *more: tuple[str, str]
    ) -> HistogramSeries:
        return self._series.histogram(name, unit, (*self._base, *more), bounds)

    def _sum(self, name: str, unit: str, *more: tuple[str, str]) -> SumSeries:
        return self._series.sum(name, unit, (*self._base, *more))

    def guard_time(self, guard: str, nanoseconds: int) -> None:
        """Record how long a guard took on a batch."""
        self._guard_duration[guard].record(nanoseconds / 1e9)

    def guard_decisions(self, result: GuardResult) -> None:
        """Count decisions per row."""
        for _row, action, _reason in result.rows:
            self._decisions[result.guard, Action(action)].add(1)

    def retried(self, requests: int) -> None:
        """Count requests that got a second try."""
        self._retries.add(requests)

    def answered(self, batch: Batch, answered: Batch, result: BatchResult) -> None:
        """Record one batch and publish it."""
        compute_s = result.compute_ns / 1e9
        self._compute.record(compute_s)
        self._batch_rows.record(batch.total)
        self._rows.add(batch.total)
        formed = batch.formed
        self._queue.record_many([formed - item.enqueued for item in batch.items])
        if result.guard_ns:
            for guard in self._model_guards:
                if guard != "schema":
                    self._guard_duration[guard].record(result.guard_ns / 1e9)
        if self._publisher is not None and answered.items:
            self._publisher.publish(
                self._model,
                self._version,
                time.time(),
                [item.id for item in answered.items],
                answered.rows,
                answered.inputs(),
                result.outputs,
                _sensitive(answered),
            )


def _sensitive(batch: Batch) -> dict[str, np.ndarray] | None:
    """Join the requests' sensitive values; rows of requests that gave none hold None."""
    names_given = {name for item in batch.items for name in item.bound.sensitive or ()}
    if not names_given:
        return None
    joined = {}
    for name in names_given:
        column = np.full(batch.total, None, dtype=np.object_)
        start = 0
        for item in batch.items:
            values = (item.bound.sensitive or {}).get(name)
            if values is not None:
                column[start : start + item.bound.rows] = values
            start += item.bound.rows
        joined[name] = column
    return joined
