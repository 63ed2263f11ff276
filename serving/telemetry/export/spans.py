"""Sending spans to an OTLP collector with OpenTelemetry's SDK, in a thread of its own.

A span is written when it ends (`span_bytes.py`), so what the thread does for a batch is little.

A collector that is dead, slow or silent costs spans, which are counted, and nothing else: what
waits is bounded, and to add a span never waits. Only processes that trace import this.
"""

from __future__ import annotations

from typing import ClassVar, Final, cast, get_args

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from serving.telemetry.counters import SeriesSet
from serving.telemetry.export.span_bytes import Envelope, span_bytes
from serving.telemetry.export.span_exporter import JoiningExporter
from serving.telemetry.exporting import STOP_TIMEOUT_S
from serving.telemetry.logs.export_lines import export_changed, variable_ignored
from serving.telemetry.metrics.process import SPANS_DROPPED, SPANS_SENT
from serving.telemetry.outgoing import Counted, Outgoing, Reason, Subject, positive
from serving.telemetry.resource import instance_resource, own_version
from serving.telemetry.span import Span

_SPANS: Final = Subject("exports of traces", "spans", "spans are dropped and counted")


class SpanExport:
    """Takes spans of one loop and sends them from a thread; all methods but `stop` are the loop's.

    Args:
        exporter: sends them, as `open_exporter` returns it.
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
        envelope = Envelope(instance_resource().attributes, "vigil", own_version())
        joining = JoiningExporter(exporter, envelope)
        # Its own bound is never reached, for it would drop without telling us.
        self._processor = BatchSpanProcessor(
            _Counted(joining, self._outgoing, SpanExportResult.SUCCESS, SpanExportResult.FAILURE),
            max_queue_size=most,
            max_export_batch_size=min(most, at_once),
        )

    def add(self, span: Span) -> None:
        """Have a span sent; dropped and counted if too many wait already."""
        if self._outgoing.admits():
            self._processor.on_end(cast(ReadableSpan, _Ended(span_bytes(span))))
        else:
            self._outgoing.tell()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Send what waits and end the thread, within `timeout_s`; then leave it behind.

        Then every span that was added is counted.
        """
        self._outgoing.stop(timeout_s, self._processor.shutdown)


class _Ended(bytes):
    """A span that is written, with what the SDK's processor asks of one before it keeps it."""

    __slots__ = ()
    context: ClassVar = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))


class _Counted(Counted[bytes, SpanExportResult], SpanExporter):  # type: ignore[misc]  # of bytes
    """What the SDK takes for an exporter of spans."""
