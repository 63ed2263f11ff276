"""OpenTelemetry's exporters of spans, made to send what is bytes already.

They know the collector: its address, headers, certificates, compression, retries. What they have no
public way for is to be given bytes; each encodes what it is given by the `encode_spans` that its
module has imported. That name is put in place of here, and is pinned by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serving.telemetry.collector import Protocol
from serving.telemetry.export.span_bytes import Envelope
from serving.telemetry.exporter_settings import exporter_arguments
from serving.telemetry.logs.export_lines import variable_ignored

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

HOOK: Final = "encode_spans"
"""What exporters call with what they were given, for a message of protobuf."""


def open_exporter(endpoint: str | None, protocol: Protocol) -> SpanExporter:
    """Return OpenTelemetry's exporter; what is not given here it takes from the environment.

    Args:
        endpoint: the collector's URL, over HTTP with the signal's path; None: the environment's.
        protocol: `http/protobuf` or `grpc`.

    Raises:
        ImportError: the package for gRPC is not installed.
        RuntimeError: the package is of a version that encodes spans in another way.
        ValueError: a variable of the environment names a file that cannot be read.
    """
    given = exporter_arguments("traces", endpoint, protocol, variable_ignored)
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as by_grpc
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        _take_bytes(by_grpc, ExportTraceServiceRequest.FromString)
        return by_grpc.OTLPSpanExporter(**given)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as by_http

    _take_bytes(by_http, _Request)
    return by_http.OTLPSpanExporter(**given)


class JoiningExporter:
    """Takes spans that are bytes, and has them sent in one request.

    Args:
        exporter: as `open_exporter` returns it.
        envelope: what is around the spans.
    """

    def __init__(self, exporter: SpanExporter, envelope: Envelope) -> None:
        self._exporter, self._envelope = exporter, envelope

    def export(self, batch: Sequence[bytes], /) -> SpanExportResult:
        """Send spans that `span_bytes` has written."""
        joined = _Joined(self._envelope.request(batch), len(batch))
        return self._exporter.export(cast("Sequence[ReadableSpan]", joined))

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


class _Joined:
    """A batch whose request is written; exporters ask how many spans it has."""

    def __init__(self, request: bytes, count: int) -> None:
        self.request, self._count = request, count

    def __len__(self) -> int:
        return self._count


class _Request:
    """What the exporter over HTTP takes for a message of protobuf."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    def SerializePartialToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._request


def _take_bytes(module: Any, message: Callable[[bytes], object]) -> None:
    """Have a module's exporter take a batch that is joined, and any other one as before."""
    current = getattr(module, HOOK, None)
    if current is None:
        raise RuntimeError(
            f"{module.__name__} has no `{HOOK}` any more; install the versions of OpenTelemetry's "
            "packages that constraints.txt names"
        )
    if current is not encode_spans:  # it is done already
        return

    def encoded(batch: Any) -> object:
        return message(batch.request) if isinstance(batch, _Joined) else encode_spans(batch)

    setattr(module, HOOK, encoded)
