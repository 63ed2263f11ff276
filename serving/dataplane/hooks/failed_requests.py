"""One line in the log for each request that is answered with a status of 500 or more."""

from __future__ import annotations

import re
from typing import Final

from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.failures import failure_of
from serving.dataplane.hooks.records import BatchDone, Failure, RequestRefused
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.trace_context import SpanIds

_SERVER_ERROR: Final = 500
_BEFORE_VALUES: Final = re.compile(r"[^'\"0-9:(]{0,60}")


def for_probe(error: VigilError) -> VigilError:
    """Return the answer to a probe, which asks again and again, and leaves no line."""
    error.logged = True
    return error


def log_failure(
    error: VigilError,
    *,
    model: str = "",
    version: str = "",
    request_id: str = "",
    path: str = "",
    span: SpanIds | None = None,
    traceparent: bytes = b"",
    explains: bool = False,
) -> None:
    """Log an error that a client gets and no record tells of, unless the client is at fault.

    Args:
        error: what the client is told.
        model, version, request_id: what was asked, where that is known.
        path: what was asked for where it was no inference.
        span, traceparent: of the request; see `report`.
        explains: whether an explanation was asked for.
    """
    failure = failure_of(error)
    if failure.status < _SERVER_ERROR or error.logged:
        return
    error.logged = True
    _log(failure, model, version, request_id, span, traceparent, path, explains=explains)


class FailureLog:
    """Logs the requests of a model's records that were answered with a status of 500 or more."""

    def batch_done(self, done: BatchDone) -> None:
        """Log those that their batch failed."""
        if done.failures:
            for request in done.requests:
                if request.failure is not None:
                    self._tell(request.failure, done, request.client_id, request.context)

    def request_refused(self, refused: RequestRefused) -> None:
        """Log one that no batch has answered."""
        self._tell(refused.failure, refused, refused.client_id, refused.context)

    def _tell(
        self,
        failure: Failure,
        record: BatchDone | RequestRefused,
        request_id: str,
        context: RequestContext,
    ) -> None:
        if failure.status >= _SERVER_ERROR and not failure.logged:
            span, traceparent = context.span, context.traceparent
            _log(failure, record.model, record.version, request_id, span, traceparent)


def _log(
    failure: Failure,
    model: str,
    version: str,
    request_id: str,
    span: SpanIds | None,
    traceparent: bytes,
    path: str = "",
    *,
    explains: bool = False,
) -> None:
    failed = failure.status == _SERVER_ERROR
    event = Event.REQUEST_FAILED if failed else Event.REQUEST_REFUSED
    message = failure.message
    cause = failure.cause
    if cause is not None:
        # The message quotes somebody else's text, and that may quote values.
        what = "an explanation" if explains else "a request"
        raised = f"model '{model}' raised {cause.type}" if model else f"{cause.type} was raised"
        message = f"{cause.told or raised}, and {what} failed"
        if model and failed:
            event = Event.MODEL_FAILED
    if explains and failed:
        event = Event.EXPLAINER_FAILED
    report(
        event,
        message,
        model=model,
        version=version,
        request_id=request_id,
        path=path,
        span=span,
        traceparent=traceparent,
        cause=cause,
        kind="" if model else _kind(failure.message),
        status=failure.status,
        answer=failure.kind,
    )


def _kind(message: str) -> str:
    """Return what a message of ours begins with: names and values in it stand in quotes."""
    found = _BEFORE_VALUES.match(message)
    return found[0] if found else ""
