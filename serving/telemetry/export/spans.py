"""Sending spans to an OTLP collector with OpenTelemetry's SDK, in a thread of its own.

A collector that is dead, slow or silent costs spans, which are counted, and nothing else: what
waits is bounded, and to add a span never waits. Only processes that trace import this.
"""

from __future__ import annotations

from typing import Final, get_args

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serving.telemetry.collector import Protocol
from serving.telemetry.counters import SeriesSet
from serving.telemetry.exporter_settings import exporter_arguments
from serving.telemetry.exporting import STOP_TIMEOUT_S
from serving.telemetry.logs.export_lines import export_changed, variable_ignored
from serving.telemetry.metrics.process import SPANS_DROPPED, SPANS_SENT
from serving.telemetry.outgoing import Counted, Outgoing, Reason, Subject, positive
from serving.telemetry.resource import instance_resource, own_version
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
_SPANS: Final = Subject("exports of traces", "spans", "spans are dropped and counted")
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


def open_exporter(endpoint: str | None, protocol: Protocol) -> SpanExporter:
    """Return OpenTelemetry's exporter; what is not given here it takes from the environment.

    Args:
        endpoint: the collector's URL, over HTTP with the signal's path; None: the environment's.
        protocol: `http/protobuf` or `grpc`.

    Raises:
        ImportError: the package for gRPC is not installed.
        ValueError: a variable of the environment names a file that cannot be read.
    """
    given = exporter_arguments("traces", endpoint, protocol, variable_ignored)
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(**given)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(**given)


class SpanExport:
    """Takes spans of one loop and sends them from a thread; all methods but `stop` are the loop's.

    Args:
        exporter: sends them.
        series: where it is counted what became of them.
        most_waiting: spans that may wait; None: `OTEL_BSP_MAX_QUEUE_SIZE`.
    """

    def __init__(
        self, exporter: SpanExporter, series: SeriesSet, most_waiting: int | None = None
    ) -> None:
        most = most_waiting or positive("OTEL_BSP_MAX_QUEUE_SIZE", 2048, variable_ignored)
        at_once = positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, variable_ignored)
        sent = series.sum(SPANS_SENT)
        dropped = {why: series.sum(SPANS_DROPPED, reason=why) for why in get_args(Reason)}
        self._outgoing = Outgoing(
            exporter,
            most,
            _SPANS,
            sent.add,
            lambda count, why: dropped[why].add(count),
            export_changed(_SPANS.exports),
        )
        # Its own bound is never reached, for it would drop without telling us.
        self._processor = BatchSpanProcessor(
            _Counted(exporter, self._outgoing, SpanExportResult.SUCCESS, SpanExportResult.FAILURE),
            max_queue_size=most,
            max_export_batch_size=min(most, at_once),
        )
        self._resource = instance_resource()
        self._scope = InstrumentationScope("vigil", own_version())

    def add(self, span: Span) -> None:
        """Have a span sent; dropped and counted if too many wait already."""
        if self._outgoing.admits():
            self._processor.on_end(self._readable(span))
        else:
            self._outgoing.tell()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Send what waits and end the thread, within `timeout_s`; then leave it behind.

        Then every span that was added is counted.
        """
        self._outgoing.stop(timeout_s, self._processor.shutdown)

    def _readable(self, span: Span) -> ReadableSpan:
        ids = span.ids
        parent = None
        if ids.parent:
            parent = SpanContext(ids.trace, ids.parent, span.remote, _SAMPLED)
        return ReadableSpan(
            span.name,
            _context(ids),
            parent,
            self._resource,
            span.attributes,
            links=[Link(_context(linked)) for linked in span.links],
            kind=_KINDS[span.kind],
            status=_ERROR if span.failed else _UNSET,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


class _Counted(Counted[ReadableSpan, SpanExportResult], SpanExporter):
    """What the SDK takes for an exporter of spans."""


def _context(ids: SpanIds) -> SpanContext:
    return SpanContext(ids.trace, ids.span, False, _SAMPLED)
