"""Sending spans to an OTLP collector with OpenTelemetry's SDK, in a thread of its own.

A collector that is dead, slow or silent costs spans, which are counted, and nothing else: what
waits is bounded, and to add a span never waits. Only processes that trace import this.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serving.telemetry.counters import SeriesSet
from serving.telemetry.exporting import STOP_TIMEOUT_S, ExporterEnd, quieten, stop_within
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.process import (
    SPANS_DROPPED,
    SPANS_NOT_EXPORTED,
    SPANS_QUEUE_FULL,
    SPANS_SENT,
)
from serving.telemetry.resource import instance_resource, own_version
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


def open_exporter(endpoint: str | None, protocol: str) -> SpanExporter:
    """Return OpenTelemetry's exporter; what is not given here it takes from the environment.

    Args:
        endpoint: the collector's URL, over HTTP with the signal's path; None: the environment's.
        protocol: `http/protobuf` or `grpc`.

    Raises:
        ImportError: the package for gRPC is not installed.
        ValueError: a variable of the environment cannot be read.
    """
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(endpoint=endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint)


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
        quieten()
        self._counting = _Counting(exporter, series)
        self._most = most_waiting or _whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        # Its own bound is never reached, for it would drop without telling us.
        self._processor = BatchSpanProcessor(
            self._counting,
            max_queue_size=self._most,
            max_export_batch_size=min(self._most, _whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)),
        )
        self._added = 0
        self._full = series.sum(SPANS_DROPPED, reason=SPANS_QUEUE_FULL)
        self._resource = instance_resource()
        self._scope = InstrumentationScope("vigil", own_version())

    def add(self, span: Span) -> None:
        """Have a span sent; dropped and counted if too many wait already."""
        if self._added - self._counting.taken >= self._most:
            self._full.add(1)
            return
        self._added += 1
        self._processor.on_end(self._readable(span))

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Send what waits and end the thread, within `timeout_s`; then leave it behind."""
        stop_within(timeout_s, self._processor.shutdown, self._counting.end)

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


class _Counting(SpanExporter):
    """Counts what an exporter does.

    Attributes:
        end: ends the exporter.
        taken: spans that do not wait any more; only the exporting thread writes to it.
    """

    def __init__(self, exporter: SpanExporter, series: SeriesSet) -> None:
        self._exporter = exporter
        self._sent = series.sum(SPANS_SENT)
        self._dropped = series.sum(SPANS_DROPPED, reason=SPANS_NOT_EXPORTED)
        self.end = ExporterEnd(exporter)
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; the SDK calls it from one thread."""
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - spans that cannot be sent are lost, whatever it was
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        (self._dropped if failed else self._sent).add(len(spans))
        if self.end.changed(failed=failed):
            how = "fail; spans are dropped and counted" if failed else "work again"
            report(Event.EXPORT_CHANGED, f"exports of traces {how}", state=how)
        return result

    def shutdown(self) -> None:
        """End the exporter once."""
        self.end.cut_short()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True


def _context(ids: SpanIds) -> SpanContext:
    return SpanContext(ids.trace, ids.span, False, _SAMPLED)


def _whole(name: str, default: int) -> int:
    """Return the positive number that a variable of the environment says."""
    text = os.environ.get(name, "").strip()
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    if text:
        said = f"{name} is '{text[:40]}', which is ignored: it must be a whole number, 1 or more"
        report(Event.VARIABLE_IGNORED, said)
    return default
