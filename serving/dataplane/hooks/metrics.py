"""Metrics of one model version's batches and requests, out of their records."""

from __future__ import annotations

from serving.dataplane.hooks.records import BatchDone, Failure, RequestRefused
from serving.telemetry.counters import MOST_LATE, HistogramSeries, SeriesSet, SumSeries
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_COMPUTE_DURATION,
    INFERENCE_DURATION,
    INFERENCE_QUEUE_DURATION,
    INFERENCE_REQUESTS,
    INFERENCE_ROWS,
    REJECTED,
)
from serving.telemetry.outcomes import OUTCOME_ABANDONED, OUTCOME_OK


class Metrics:
    """Counts and times batches, and requests by how they ended.

    Args:
        series: where the series are kept.
        model, version: the attributes of every series.

    Attributes:
        queue: how long requests waited.
        compute: times of batches in the model.
    """

    def __init__(self, series: SeriesSet, model: str, version: str) -> None:
        self._series = series
        self._base = base = {"model": model, "version": version}
        self.queue = series.histogram(INFERENCE_QUEUE_DURATION, **base)
        self.compute = series.histogram(INFERENCE_COMPUTE_DURATION, **base)
        self._batch_rows = series.histogram(BATCH_ROWS, **base)
        self._rows = series.sum(INFERENCE_ROWS, **base)
        self._outcomes: dict[str, tuple[SumSeries, HistogramSeries]] = {}
        self._kinds: dict[str, SumSeries] = {}
        self._ok_requests, self._ok_duration = self.of(OUTCOME_OK)

    def batch_done(self, done: BatchDone) -> None:
        """Count a batch, and the requests that it answered."""
        if done.observed:
            self._observed(done)
            return
        queue, duration = self.queue, self._ok_duration
        waited, took = queue.late, duration.late
        before, end = len(took), done.answered
        computed = done.rows > 0
        for request in done.requests:
            if computed:
                waited.append(request.queue_s)
            if request.failure is not None:
                self._count(request.failure, end - request.arrived)
            elif not request.refused:
                took.append(end - request.arrived)
        self._ok_requests.value += len(took) - before
        if len(waited) >= MOST_LATE:
            queue.count_late()
        if len(took) >= MOST_LATE:
            duration.count_late()
        if computed and not done.split:
            self.compute.record(done.compute_ns / 1e9)
            self._batch_rows.record(done.rows)
            self._rows.value += done.rows

    def _observed(self, done: BatchDone) -> None:
        """Count requests that somebody else answered; their duration where it is known."""
        self._ok_requests.value += len(done.requests)
        self._rows.value += done.rows
        for request in done.requests:
            if request.arrived < done.answered:
                self._ok_duration.record(done.answered - request.arrived)

    def request_refused(self, refused: RequestRefused) -> None:
        """Count a request that no batch has answered."""
        self._count(refused.failure, refused.waited_s)

    def _count(self, failure: Failure, seconds: float) -> None:
        # Outcome and kind are closed sets: no client can extend them.
        requests, duration = self.of(failure.outcome)
        requests.value += 1
        duration.record(seconds)
        if failure.outcome == OUTCOME_ABANDONED:
            return
        rejected = self._kinds.get(failure.kind)
        if rejected is None:
            rejected = self._kinds[failure.kind] = self._series.sum(
                REJECTED, reason=failure.kind, **self._base
            )
        rejected.value += 1

    def of(self, outcome: str) -> tuple[SumSeries, HistogramSeries]:
        """Return the number and the durations of requests that ended so."""
        known = self._outcomes.get(outcome)
        if known is None:
            known = self._outcomes[outcome] = (
                self._series.sum(INFERENCE_REQUESTS, outcome=outcome, **self._base),
                self._series.histogram(INFERENCE_DURATION, outcome=outcome, **self._base),
            )
        return known
