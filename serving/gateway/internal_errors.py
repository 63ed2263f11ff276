"""What a client is told of whatever its request failed with, and what the log is."""

from __future__ import annotations

from typing import Final

from serving.dataplane.hooks.failed_requests import log_failure
from serving.errors import InternalError, VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.trace_context import SpanIds

INTERNAL_ERROR: Final = "internal error; see the server's log"


def client_error(
    error: Exception,
    said: str,
    *,
    model: str = "",
    version: str = "",
    request_id: str = "",
    path: str = "",
    span: SpanIds | None = None,
    traceparent: bytes = b"",
) -> VigilError:
    """Log what a request failed with, and return the error that its client is told.

    An error of the domain is told as it is. Of any other exception the log gets the traceback, and
    the client no more than that the log has it: its text may quote others' requests, or secrets.

    Args:
        error: whatever was raised.
        said: a sentence for the log of what could not be done, where it is no error of the domain.
        model, version, request_id, path: what was asked, as far as it is known.
        span, traceparent: of the request; see `report`.
    """
    if isinstance(error, VigilError):
        log_failure(
            error, model=model, version=version, request_id=request_id, path=path, span=span,
            traceparent=traceparent,
        )  # fmt: skip
        return error
    report(
        Event.INTERNAL_ERROR,
        said,
        model=model,
        version=version,
        request_id=request_id,
        path=path,
        span=span,
        traceparent=traceparent,
        error=error,
    )
    told = InternalError(INTERNAL_ERROR)
    told.logged = True
    return told
