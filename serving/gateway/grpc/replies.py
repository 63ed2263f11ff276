"""gRPC answers to calls that failed: which status and text an error becomes."""

from __future__ import annotations

from serving.errors import VigilError
from serving.gateway.grpc.frames import HEADERS, status_trailers
from serving.protocol.status import grpc_status

Fields = list[tuple[bytes, bytes]]


def error_trailers(error: VigilError) -> Fields:
    """Return the trailers that end a call which failed, whichever ingress writes them."""
    return status_trailers(grpc_status(error), error.message)


def error_headers(error: VigilError) -> Fields:
    """Return the headers of an answer that is nothing but an error (`Trailers-Only`)."""
    return [*HEADERS, *error_trailers(error)]
