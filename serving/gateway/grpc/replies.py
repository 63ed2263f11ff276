"""gRPC answers to calls that failed: which status and text an error becomes."""

from __future__ import annotations

from serving.errors import VigilError
from serving.gateway.grpc.frames import HEADERS, status_trailers
from serving.gateway.http.headers import Headers
from serving.gateway.internal_errors import client_error
from serving.protocol.status import grpc_status
from serving.telemetry.trace_context import TRACEPARENT

Fields = list[tuple[bytes, bytes]]


def error_trailers(error: VigilError) -> Fields:
    """Return the trailers that end a call which failed, whichever ingress writes them."""
    return status_trailers(grpc_status(error), error.message)


def failed(error: Exception, said: str, path: str, headers: Headers) -> tuple[Fields, int]:
    """Log what a call failed with; return its trailers and the number of its status.

    Whoever caught the error must not name what its client is told: the traceback of that knows the
    frame, which would so know itself.

    Args:
        error, said, path: see `client_error`.
        headers: of the call.
    """
    told = client_error(error, said, path=path, traceparent=headers.get(TRACEPARENT, b""))
    return error_trailers(told), grpc_status(told)


def error_headers(error: VigilError) -> Fields:
    """Return the headers of an answer that is nothing but an error (`Trailers-Only`)."""
    return [*HEADERS, *error_trailers(error)]
