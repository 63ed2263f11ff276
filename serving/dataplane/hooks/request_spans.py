"""Spans of the requests that are traced, made from their records once the answers are on their way.

A request that is traced knows the ids of its span from its admission on (`RequestContext.span`);
for every other one there is nothing but the question whether it is.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

from serving.config import ModelConfig
from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.records import BatchDone, Failure, RequestDone, RequestRefused
from serving.dataplane.hooks.server_span import EXPLAIN, Attributes, in_span, server_span
from serving.dataplane.requests.batch import Batch
from serving.models.bucket_sizes import compiled_sizes, padding
from serving.protocol.messages import InferRequest
from serving.telemetry.sampling import Sampler
from serving.telemetry.span import Span, SpanKind, SpanSink
from serving.telemetry.trace_context import SpanIds, parent_of, read_traceparent

_CLOCK_SET_NS: Final = 1_000_000


class RequestTraces:
    """What all versions of a gateway share: who is traced, and where spans go.

    Args:
        sampler: chooses requests.
        sink: takes spans.

    Attributes:
        not_sampled: a trace context for servers that are asked on behalf of nobody who is traced.
    """

    def __init__(self, sampler: Sampler, sink: SpanSink) -> None:
        self.sampler = sampler
        self.sink = sink
        self._epoch_ns = _epoch_ns()
        # Whoever is told of it does not begin a trace of its own.
        self.not_sampled = f"00-{sampler.span_id():032x}-{sampler.span_id():016x}-00"

    def epoch_ns(self) -> int:
        """Return what makes nanoseconds since the epoch of monotonic ones.

        Spans of one trace fit together as long as the time of day is not set.
        """
        now = _epoch_ns()
        if abs(now - self._epoch_ns) > _CLOCK_SET_NS:
            self._epoch_ns = now
        return self._epoch_ns

    def child(self, parent: SpanIds) -> SpanIds:
        """Return the ids of a new span within `parent`."""
        return SpanIds(parent.trace, self.sampler.span_id(), parent.span)

    def tell_upstream(self, batch: Batch) -> None:
        """Give a batch the trace context that the server which computes it is told."""
        for item in batch.items:
            if (span := item.context.span) is not None:
                batch.span = model = self.child(self.child(span))
                batch.traceparent = model.traceparent.encode()
                return
        alone = batch.items[0].context.traceparent if len(batch.items) == 1 else b""
        batch.traceparent = (read_traceparent(alone) or self.not_sampled).encode()


def pass_on(batch: Batch) -> None:
    """Give a batch the trace context of a client in it, as a gateway does that traces nothing.

    One that its client records comes first.
    """
    for item in batch.items:
        given = item.context.traceparent
        parent = parent_of(given) if given else None
        if parent is not None:
            recorded = parent[2]
            if recorded or not batch.traceparent:
                batch.traceparent = given
            if recorded:
                return


def _epoch_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


class ExplanationSpan:
    """The span of an explanation, and of the explainer's part in it.

    Args:
        context: of the request, with its span.
        attributes: of the request.
        traces: shared with all others.

    Attributes:
        context: that one.
        traceparent: what the explainer is told, for the server that it may ask.
    """

    def __init__(
        self, context: RequestContext, attributes: Attributes, traces: RequestTraces
    ) -> None:
        assert context.span is not None
        self.context = context
        self._attributes = attributes
        self._traces = traces
        self._step = traces.child(context.span)
        self._begun = time.monotonic_ns()
        self.traceparent = self._step.traceparent

    def end(self, failure: Failure | None, rows: int = 0) -> None:
        """Make both spans, once the answer is there."""
        epoch = self._traces.epoch_ns()
        start, end = epoch + self._begun, epoch + time.monotonic_ns()
        attributes = dict(self._attributes)
        if rows:
            attributes["vigil.rows"] = rows
        span = server_span(self.context, start, end, failure, dict(attributes), (), EXPLAIN)
        self._traces.sink(span)
        self._traces.sink(Span("explain", self._step, start, end, attributes, failed=span.failed))


class RequestSpans:
    """A hook that makes the spans of one model version.

    Args:
        model, version: attributes of every span.
        config: the model's.
        traces: shared with all other versions.
    """

    def __init__(
        self, model: str, version: str, config: ModelConfig, traces: RequestTraces
    ) -> None:
        self._base: Attributes = {"vigil.model": model, "vigil.version": version}
        self._sizes = compiled_sizes(config)
        self._upstream = None if config.remote is None else urlsplit(config.remote.url).hostname
        self._computed: SpanKind = "internal" if config.remote is None else "client"
        self._traces = traces
        self._sink = traces.sink

    def batch_done(self, done: BatchDone) -> None:
        """Make the spans of a batch, if somebody in it is traced."""
        traced = [request for request in done.requests if request.context.span is not None]
        if not traced and not done.parts:
            return
        spans = [request.context.span for request in traced]
        spans += [context.span for context in done.parts]
        worked_for = tuple(dict.fromkeys(span for span in spans if span is not None))
        if not worked_for:
            return
        # Records are timed by a clock that never jumps; spans tell the time of day.
        epoch_ns = self._traces.epoch_ns()
        batch = None
        if done.rows and not done.split:
            batch = self._batch(done, worked_for, epoch_ns)
        for request in traced:
            if not request.refused:
                self._answered(request, done, batch, epoch_ns)

    def request_refused(self, refused: RequestRefused) -> None:
        """Make the span of a request that no batch has answered, if it is traced."""
        ids = refused.context.span
        if ids is not None:
            end = self._traces.epoch_ns() + time.monotonic_ns()
            start = end - int(refused.waited_s * 1e9)
            attributes = self._named(refused.client_id, refused.arm)
            if refused.rows:
                attributes["vigil.rows"] = refused.rows
            self._sink(server_span(refused.context, start, end, refused.failure, attributes))

    def context_without_span(self, context: RequestContext) -> str:
        """Return the trace context for servers that are asked for a request that is not traced."""
        return context.trace or self._traces.not_sampled

    def explanation(self, request: InferRequest, context: RequestContext) -> ExplanationSpan | None:
        """Return the span of an explanation that begins now, if it is traced."""
        ids = self._traces.sampler.sample(context.traceparent)
        if ids is None:
            return None
        within = in_span(context, ids, request, EXPLAIN)
        return ExplanationSpan(within, self._named(request.id, ""), self._traces)

    # -- requests -----------------------------------------------------------------------

    def _answered(
        self, request: RequestDone, done: BatchDone, batch: SpanIds | None, epoch_ns: int
    ) -> None:
        context = request.context
        assert context.span is not None
        start = epoch_ns + int(request.arrived * 1e9)
        end = epoch_ns + int(done.answered * 1e9)
        attributes = self._named(request.client_id, request.arm)
        attributes["vigil.rows"] = request.bound.rows
        if request.flags:
            attributes["vigil.guard.flags"] = tuple(request.flags)
        if request.upstream:
            attributes["vigil.upstream.version"] = request.upstream
        other = batch is not None and batch.trace != context.span.trace
        links = (batch,) if batch is not None and other else ()
        self._sink(server_span(context, start, end, request.failure, attributes, links))
        if done.rows:
            ids = self._traces.child(context.span)
            left = min(end, start + int(request.queue_s * 1e9))
            self._sink(Span("queue", ids, start, left, self._base))

    def _named(self, client_id: str, arm: str) -> Attributes:
        attributes = dict(self._base)
        if client_id:
            attributes["vigil.request.id"] = client_id
        if arm:
            attributes["vigil.arm"] = arm
        return attributes

    # -- batches ------------------------------------------------------------------------

    def _batch(self, done: BatchDone, worked_for: tuple[SpanIds, ...], epoch_ns: int) -> SpanIds:
        """Make the spans of a batch and of its computation; return the ids of the former.

        It is a step in the trace of one of its requests, and linked to the spans of all.
        """
        model = done.span or self._traces.child(self._traces.child(worked_for[0]))
        asked = next((span for span in worked_for if span.trace == model.trace), worked_for[0])
        ids = SpanIds(model.trace, model.parent, asked.span)
        attributes: Attributes = {
            **self._base,
            "vigil.batch.rows": done.rows,
            "vigil.batch.requests": len(done.requests) + len(done.parts),
        }
        if self._sizes is not None:
            more = padding(done.rows, self._sizes) if self._sizes else 0
            attributes["vigil.batch.padding"] = more
        start, end = epoch_ns + int(done.formed * 1e9), epoch_ns + int(done.ended * 1e9)
        end = max(start, end)
        failed = bool(done.failures) and not done.output_rows
        self._sink(Span("batch", ids, start, end, attributes, links=worked_for, failed=failed))
        if self._upstream:
            attributes = {**attributes, "server.address": self._upstream}
        # Its duration is measured where it is computed, and when it began is not told.
        computed = min(done.compute_ns, end - start)
        begun = start + (end - start - computed) // 2
        self._sink(
            Span("model", model, begun, begun + computed, attributes, self._computed, failed=failed)
        )
        return ids
