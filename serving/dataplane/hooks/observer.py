"""What the data plane tells metrics and monitors, once per batch and never per request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from guards.decisions import Action
from serving.channel.messages.inference import BatchResult, GuardResult
from serving.dataplane.batching.batch import Batch, by_upstream, leave_out
from serving.dataplane.hooks.guard_series import GuardSeries
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.hooks.tracing import Tracer
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.splitting import finished, unparted
from serving.errors import GuardRejected
from serving.protocol.datatypes import FLOATING
from serving.protocol.finite import non_finite_rows
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet


class BatchObserver(Protocol):
    """Told by a model's queue what happens to batches; must be quick and must not raise."""

    def guards_judged(self, results: tuple[GuardResult, ...]) -> None:
        """The gateway's guards have looked at a batch."""

    def retried(self, requests: int) -> None:
        """Requests of a lost replica go to another one."""

    def deadly(self) -> None:
        """A request is answered 500 because computing it ends replicas."""

    def abandoned(self, reason: str, rows: int) -> None:
        """Rows waited and are not computed because nobody wants the answer any more."""

    def answered(
        self, batch: Batch, answered: Batch, result: BatchResult, *, parted: bool = False
    ) -> None:
        """A result came back; `answered` is `batch` without the requests that failed.

        `parted` says that parts of larger requests may be among them.
        """


class ModelObserver:
    """Counts into one model version's series and publishes its events.

    Args:
        model, version: the attributes of every series.
        series: where the series are kept.
        publisher: takes prediction events; None when nobody monitors this model.
        guards: names of the model's guards; their series exist from the start.
        outputs: datatypes of the model's outputs by name; NaN and infinity in them are counted.
        statistics: times of its batches; as the series, they go on when the version is reloaded.
        publish_inputs: whether a monitor has a use for inputs, as drift has.
    """

    def __init__(
        self,
        model: str,
        version: str,
        series: SeriesSet,
        publisher: EventPublisher | None,
        guards: tuple[str, ...],
        outputs: Mapping[str, str],
        statistics: BatchStatistics,
        *,
        publish_inputs: bool = True,
    ) -> None:
        self._publish_inputs = publish_inputs
        self._model, self._version = model, version
        self._publisher = publisher
        self.statistics = statistics
        self.tracer: Tracer | None = None
        base = {"model": model, "version": version}
        self._queue = series.histogram(names.INFERENCE_QUEUE_DURATION, **base)
        self._compute = series.histogram(names.INFERENCE_COMPUTE_DURATION, **base)
        self._batch_rows = series.histogram(names.BATCH_ROWS, **base)
        self._rows = series.sum(names.INFERENCE_ROWS, **base)
        self._retries = series.sum(names.RETRIES, **base)
        self._deadly = series.sum(names.QUERIES_OF_DEATH, **base)
        self._abandoned = {
            reason: series.sum(names.QUEUE_ROWS_ABANDONED, reason=reason, **base)
            for reason in names.ABANDONED_REASONS
        }
        self._violations = {
            output: (datatype, series.sum(names.QUALITY_VIOLATIONS, output=output, **base))
            for output, datatype in outputs.items()
            if datatype in FLOATING
        }
        self.guards_judged = GuardSeries(series, guards, model, version).judged

    def retried(self, requests: int) -> None:
        """Count requests that got a second try."""
        self._retries.add(requests)

    def deadly(self) -> None:
        """Count a request that ends replicas."""
        self._deadly.add(1)

    def abandoned(self, reason: str, rows: int) -> None:
        """Count rows that waited in vain."""
        self._abandoned[reason].add(rows)

    def answered(
        self, batch: Batch, answered: Batch, result: BatchResult, *, parted: bool = False
    ) -> None:
        """Record one batch and publish it."""
        compute_s = result.meta.compute_ns / 1e9
        self._compute.record(compute_s)
        self._batch_rows.record(batch.total)
        self._rows.add(batch.total)
        formed = batch.formed
        # A request in parts has waited for a slot until its first part left.
        waiting = unparted(batch.items) if parted else batch.items
        self._queue.record_late([formed - item.enqueued for item in waiting])
        if result.meta.guards:
            self.guards_judged(result.meta.guards)
        if not answered.items:
            return
        self._look_at(result.outputs)
        now = time.time()
        if self.tracer is not None:
            self.tracer.answered(batch, result)
        wholes = finished(answered.items) if parted else []
        requests = len(answered.items)
        if parted:
            requests += len(wholes) - sum(item.whole is not None for item in answered.items)
        self.statistics.answered(
            requests,
            answered.total,
            int((batch.ended - formed) * 1e9),
            result.meta.compute_ns,
            result.meta.guard_ns,
            int(now * 1e3),
        )
        if self._publisher is None:
            return
        for whole in wholes:
            one = Batch(batch.names, [whole.item], formed)
            self._publish(now, one, whole.outputs(), whole.upstream)
        outputs = result.outputs
        if parted or _rejects(result):
            unseen = [at for at, item in enumerate(answered.items) if item.whole or _refused(item)]
            answered, outputs = leave_out(answered, outputs, unseen)
        if not answered.items:
            return
        if not result.meta.remarks:  # only another server has any
            self._publish(now, answered, outputs)
            return
        for upstream, part, of_part in by_upstream(answered, outputs):
            self._publish(now, part, of_part, upstream)

    def _look_at(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Count rows with NaN or infinity."""
        for output, (datatype, violations) in self._violations.items():
            if rows := non_finite_rows(outputs[output], datatype):
                violations.add(rows)

    def _publish(
        self, now: float, batch: Batch, outputs: Mapping[str, np.ndarray], upstream: str = ""
    ) -> None:
        assert self._publisher is not None
        self._publisher.publish(
            self._model,
            self._version,
            now,
            [item.id for item in batch.items],
            batch.rows,
            batch.inputs() if self._publish_inputs else {},
            outputs,
            _sensitive(batch),
            upstream,
        )


def _rejects(result: BatchResult) -> bool:
    """Whether a guard of the model refused a row; most only flag some, in most batches."""
    return any(
        action == Action.REJECT for guard in result.meta.guards for _, action, _ in guard.rows
    )


def _refused(item: Pending) -> bool:
    """Whether a guard of the model took the answer back: then it was none."""
    return not item.future.cancelled() and isinstance(item.future.exception(), GuardRejected)


def _sensitive(batch: Batch) -> dict[str, np.ndarray] | None:
    """Join the requests' sensitive values; rows of requests that gave none hold None."""
    given = [item.bound.sensitive for item in batch.items if item.bound.sensitive]
    if not given:
        return None
    names_given = {name for values in given for name in values}
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
