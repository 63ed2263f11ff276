"""Sending lines of the log to an OTLP collector with OpenTelemetry's SDK, in a thread of its own.

They are on standard error all the same, so a collector that is dead, slow or silent loses nothing
that is not there. What waits is bounded; lines that come when it is full are counted.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

from serving.telemetry.exporter_settings import exporter_arguments
from serving.telemetry.exporting import LINES_STOP_TIMEOUT_S
from serving.telemetry.logs.collected import Collector
from serving.telemetry.logs.export_lines import export_changed, variable_ignored
from serving.telemetry.logs.lines import Lines
from serving.telemetry.logs.report import FIELDS
from serving.telemetry.logs.unsent import unsent_lines
from serving.telemetry.outgoing import Counted, Outgoing, Subject, positive
from serving.telemetry.resource import instance_resource, own_version

_SEVERITY: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_ATTRIBUTES: Final = {
    "pid": "process.pid",
    "error": "error.type",
    "exception": "exception.stacktrace",
    "request_id": "vigil.request.id",
}
_ELSEWHERE: Final = frozenset({"time", "level", "message", "event", "trace_id", "span_id"})
_LINES: Final = Subject(
    "exports of the log", "lines", "lines are on standard error alone, and counted"
)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)


def open_exporter(collector: Collector) -> LogRecordExporter:
    """Return OpenTelemetry's exporter; what is not given here it takes from the environment.

    Raises:
        ImportError: the package for gRPC is not installed.
        ValueError: a variable of the environment names a file that cannot be read.
    """
    given = exporter_arguments("logs", collector.endpoint, collector.protocol, variable_ignored)
    if collector.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (
            OTLPLogExporter as GrpcExporter,
        )

        over_grpc: LogRecordExporter = GrpcExporter(**given)
        return over_grpc
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return OTLPLogExporter(**given)


class CollectorHandler(logging.Handler):
    """Has records sent that are lines already: ours, and those of libraries that were let through.

    Args:
        exporter: sends them.
        lines: says what a line holds.
    """

    def __init__(self, exporter: LogRecordExporter, lines: Lines) -> None:
        super().__init__()
        self._lines = lines
        most = positive("OTEL_BLRP_MAX_QUEUE_SIZE", 2048, variable_ignored)
        at_once = positive("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 512, variable_ignored)
        self._outgoing = Outgoing(
            exporter,
            most,
            _LINES,
            lambda _count: None,
            lambda count, _why: unsent_lines.add(count),
            export_changed(_LINES.exports),
        )
        # Its own bound is never reached, for it would drop without telling us.
        self._processor = BatchLogRecordProcessor(
            _Counted(
                exporter,
                self._outgoing,
                LogRecordExportResult.SUCCESS,
                LogRecordExportResult.FAILURE,
            ),
            max_queue_size=most,
            max_export_batch_size=min(most, at_once),
        )
        self._resource = instance_resource()
        self._scope = InstrumentationScope("vigil", own_version())

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line sent; never waits and never raises."""
        if not hasattr(record, FIELDS):
            return  # a library's: it comes again once it is known how often it may
        try:
            one = _record(self._lines.fields(record), int(record.created * 1e9))
            # Of one that is dropped the exporting thread tells: this one is within a line.
            if self._outgoing.admits():
                self._processor.on_emit(ReadWriteLogRecord(one, self._resource, self._scope))
        except Exception:  # noqa: BLE001 - the line is on standard error all the same
            self.handleError(record)

    def stop(self, timeout_s: float = LINES_STOP_TIMEOUT_S) -> None:
        """Send what waits and end the thread, within `timeout_s`; then leave it behind."""
        self._outgoing.stop(timeout_s, self._processor.shutdown)


def _record(fields: dict[str, Any], time_ns: int) -> LogRecord:
    trace, span = fields.get("trace_id"), fields.get("span_id")
    record = LogRecord(
        timestamp=time_ns,
        severity_text=fields["level"].upper(),
        severity_number=_SEVERITY.get(fields["level"], SeverityNumber.UNSPECIFIED),
        body=_value(fields["message"]),
        attributes={
            _ATTRIBUTES.get(name, f"vigil.{name}"): _value(value)
            for name, value in fields.items()
            if name not in _ELSEWHERE and value is not None
        },
        event_name=fields["event"],
    )
    record.trace_id = int(trace, 16) if trace else 0
    record.span_id = int(span, 16) if span else 0
    record.trace_flags = _SAMPLED if span else _NOT_SAMPLED
    return record


def _value(value: object) -> str | bool | int | float:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value if isinstance(value, bool | int | float) else str(value)


class _Counted(Counted[ReadableLogRecord, LogRecordExportResult], LogRecordExporter):
    """What the SDK takes for an exporter of lines."""
