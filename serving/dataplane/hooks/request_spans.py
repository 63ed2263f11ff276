"""Spans of the requests that are traced, made from their records once the answers are on their way.

A request that is traced knows the ids of its span from its admission on (`RequestContext.span`);
for every other one there is nothing but the question whether it is.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from serving.config import ModelConfig
from serving.dataplane.context import GRPC, GRPC_STREAM, HTTP, RequestContext
from serving.dataplane.hooks.records import BatchDone, Failure, RequestDone, RequestRefused
from serving.dataplane.requests.batch import Batch
from serving.models.bucket_sizes import compiled_sizes, padding
from serving.protocol.messages import InferRequest
from serving.protocol.status import grpc_status_name
from serving.telemetry.outcomes import OUTCOME_OK
from serving.telemetry.sampling import Sampler
from serving.telemetry.span import Attribute, Span, SpanSink
from serving.telemetry.trace_context import RequestSpan, SpanIds, read_traceparent

Attributes = dict[str, Attribute]

_ROUTE: Final = "/v2/models/{model_name}[/versions/{model_version}]/infer"
_SERVICE: Final = "inference.GRPCInferenceService"
_METHODS: Final = {GRPC: f"{_SERVICE}/ModelInfer", GRPC_STREAM: f"{_SERVICE}/ModelStreamInfer"}
_NAMES: Final = {HTTP: f"POST {_ROUTE}", **_METHODS}
# Which statuses count as a server's errors, by the semantic conventions for gRPC.
_GRPC_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_NEVER_SENT: Final = 499


_CLOCK_SET_NS: Final = 1_000_000


class RequestTraces:
    """What all versions of a gateway share: who is traced, and where spans go.

    Args:
        sampler: chooses requests.
        sink: takes spans.
    """

    def __init__(self, sampler: Sampler, sink: SpanSink) -> None:
        self.sampler = sampler
        self.sink = sink
        self._epoch_ns = _epoch_ns()
        # Whoever is told of it does not begin a trace of its own.
        self._not_sampled = b"00-%032x-%016x-00" % (sampler.span_id(), sampler.span_id())

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
        batch.traceparent = read_traceparent(alone).encode() or self._not_sampled


def _epoch_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def in_span(context: RequestContext, ids: SpanIds, request: InferRequest) -> RequestContext:
    """Return the context of a request that is traced."""
    path = ""
    if context.transport == HTTP:
        version = f"/versions/{quote(request.model_version)}" if request.model_version else ""
        path = f"/v2/models/{quote(request.model_name, safe='')}{version}/infer"
    span = RequestSpan(ids.trace, ids.span, ids.parent, path)
    return msgspec.structs.replace(context, span=span)


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
        self._remote = config.remote is not None
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
            more: Attributes = {"vigil.rows": refused.rows} if refused.rows else {}
            self._server(
                refused.context, start, end, refused.client_id, refused.arm, refused.failure, more
            )

    # -- requests -----------------------------------------------------------------------

    def _answered(
        self, request: RequestDone, done: BatchDone, batch: SpanIds | None, epoch_ns: int
    ) -> None:
        context = request.context
        assert context.span is not None
        start = epoch_ns + int(request.arrived * 1e9)
        end = epoch_ns + int(done.answered * 1e9)
        more: Attributes = {"vigil.rows": request.bound.rows}
        if request.flags:
            more["vigil.guard.flags"] = tuple(request.flags)
        if request.upstream:
            more["vigil.upstream.version"] = request.upstream
        other = batch is not None and batch.trace != context.span.trace
        links = (batch,) if batch is not None and other else ()
        self._server(
            context, start, end, request.client_id, request.arm, request.failure, more, links
        )
        if done.rows:
            ids = self._traces.child(context.span)
            left = min(end, start + int(request.queue_s * 1e9))
            self._sink(Span("queue", ids, start, left, self._base))

    def _server(
        self,
        context: RequestContext,
        start: int,
        end: int,
        client_id: str,
        arm: str,
        failure: Failure | None,
        more: Attributes,
        links: tuple[SpanIds, ...] = (),
    ) -> None:
        assert context.span is not None
        attributes, failed = _of_transport(context.transport, context.span, failure)
        attributes.update(self._base)
        attributes["vigil.outcome"] = OUTCOME_OK if failure is None else failure.outcome
        if failure is not None and failed:
            attributes["error.type"] = failure.kind
        if client_id:
            attributes["vigil.request.id"] = client_id
        if arm:
            attributes["vigil.arm"] = arm
        attributes.update(more)
        self._sink(
            Span(
                _NAMES.get(context.transport, "infer"),
                context.span,
                start,
                end,
                attributes,
                "server" if context.transport else "internal",
                bool(context.span.parent),
                links,
                failed,
            )
        )

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
        kind = "client" if self._remote else "internal"
        self._sink(Span("model", model, begun, begun + computed, attributes, kind, failed=failed))
        return ids


def _of_transport(
    transport: str, span: RequestSpan, failure: Failure | None
) -> tuple[Attributes, bool]:
    """Return what the conventions say of an answer, and whether it is the server's error."""
    status = 200 if failure is None else failure.status
    if transport == HTTP:
        attributes: Attributes = {
            "http.request.method": "POST",
            "http.route": _ROUTE,
            "url.path": span.path,
            "url.scheme": "http",
        }
        if status != _NEVER_SENT:
            attributes["http.response.status_code"] = status
        return attributes, status >= 500
    if method := _METHODS.get(transport):
        code = "OK" if failure is None else grpc_status_name(failure.kind)
        attributes = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
        }
        return attributes, code in _GRPC_ERRORS
    return {}, status >= 500
