"""Leads from the durations of one model version to the traces of requests that took so long."""

from __future__ import annotations

from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.records import BatchDone, RequestRefused
from serving.telemetry.outcomes import OUTCOME_OK


class Exemplars:
    """A hook for gateways that trace; of requests that are not traced it takes nothing.

    Args:
        metrics: has the series, and is told of each record first.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def batch_done(self, done: BatchDone) -> None:
        """Take the requests that are traced."""
        traced = [request for request in done.requests if request.context.span is not None]
        if not traced:
            return
        metrics, now = self._metrics, done.time
        for request in traced:
            span = request.context.span
            assert span is not None
            if done.rows:
                metrics.queue.exemplify(request.queue_s, span, now)
            if request.refused:
                continue
            outcome = OUTCOME_OK if request.failure is None else request.failure.outcome
            _, duration = metrics.of(outcome)
            duration.exemplify(done.answered - request.arrived, span, now)
        if done.rows and not done.split:
            span = traced[-1].context.span
            assert span is not None
            metrics.compute.exemplify(done.compute_ns / 1e9, span, now)

    def request_refused(self, refused: RequestRefused) -> None:
        """Take a request that no batch has answered, if it is traced."""
        span = refused.context.span
        if span is not None:
            _, duration = self._metrics.of(refused.failure.outcome)
            duration.exemplify(refused.waited_s, span, refused.time)
