"""One line in the log for each request that is answered with a status of 500 or more."""

from __future__ import annotations

from typing import Final

from serving.errors import VigilError
from serving.logs.events import Event
from serving.logs.report import report
from serving.protocol.status import http_status

_SERVER_ERROR: Final = 500


def log_failure(
    error: VigilError, *, model: str = "", version: str = "", request_id: str = "", path: str = ""
) -> None:
    """Log an error that a client gets, unless that is done, or the client is at fault.

    Args:
        error: what the client is told.
        model, version, request_id: what was asked, where that is known.
        path: what was asked for where it was no inference.
    """
    status = http_status(error)
    if status < _SERVER_ERROR or error.logged:
        return
    error.logged = True
    kind = type(error).__name__
    event = Event.REQUEST_FAILED if status == _SERVER_ERROR else Event.REQUEST_REFUSED
    message = error.message
    if error.cause is not None:
        # The message quotes somebody else's text, and that may quote values.
        message = f"{error.cause.type} was raised, and a request failed"
        if model:
            event = Event.MODEL_FAILED
            message = f"model '{model}' raised {error.cause.type}, and a request failed"
    report(
        event,
        message,
        model=model,
        version=version,
        request_id=request_id,
        path=path,
        cause=error.cause,
        status=status,
        answer=kind,
    )
