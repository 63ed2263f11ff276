"""Logging one fact: `report` is what all of Vigil calls, whatever becomes of the line.

It goes through the standard library's logger `vigil`, so that an application that hosts Vigil
gets it in its own log.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from serving.telemetry.logs.causes import Cause, describe
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.rate_limit import RateLimit
from serving.telemetry.trace_context import SpanIds, parent_of

FIELDS: Final = "vigil_fields"
"""Attribute of a log record that holds what its line says beside the message."""
MOST_TEXT: Final = 2000
"""Characters of one text in a line, the exception apart."""

Fields = dict[str, Any]
Make = Callable[[], logging.LogRecord]

logger: Final = logging.getLogger("vigil")


class Reporter:
    """Writes facts as records, not more often than its limit lets it.

    Args:
        limit: how often one cause may write.
    """

    def __init__(self, limit: RateLimit[Make] | None = None) -> None:
        self.limit = limit or RateLimit()
        self._timer: threading.Timer | None = None

    def write(self, cause: tuple[object, ...], make: Make) -> None:
        """Write a record now, or count it for later; it is only made if it is written."""
        suppressed = self.limit.admit(cause, make)
        if suppressed is None:
            self._wake_later()
        else:
            _emit(make(), suppressed)

    def flush(self, *, everything: bool = False) -> None:
        """Write what was kept back and may be written now."""
        for make, suppressed in self.limit.due(everything=everything):
            _emit(make(), suppressed)

    def _wake_later(self) -> None:
        """Have what is kept back written in time, although its cause may never come again."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(self.limit.interval_s, self._wake)
            self._timer.daemon = True
            self._timer.name = "log-flush"
            self._timer.start()

    def _wake(self) -> None:
        self._timer = None
        self.flush()
        if self.limit.pending:
            self._wake_later()


def _emit(record: logging.LogRecord, suppressed: int) -> None:
    if suppressed:
        fields: Fields = getattr(record, FIELDS)
        setattr(record, FIELDS, {**fields, "suppressed": suppressed})
    logging.getLogger(record.name).handle(record)


_reporter = Reporter()


def _begin_anew() -> None:
    # A forked process has no timer thread, and what is kept back is its parent's to tell.
    use(Reporter())


os.register_at_fork(after_in_child=_begin_anew)


def use(reporter: Reporter) -> Reporter:
    """Let `report` write through `reporter`; returns the one before it."""
    global _reporter
    before, _reporter = _reporter, reporter
    return before


def current() -> Reporter:
    """Return what `report` writes through."""
    return _reporter


def report(
    event: Event,
    message: str,
    *,
    model: str = "",
    version: str = "",
    request_id: str = "",
    path: str = "",
    span: SpanIds | None = None,
    traceparent: bytes = b"",
    error: BaseException | None = None,
    cause: Cause | None = None,
    kind: str = "",
    **facts: object,
) -> None:
    """Log one fact.

    Args:
        event: what kind of fact it is; it decides the level.
        message: one plain sentence, without values of requests.
        model, version, request_id: what it is about, where that is known.
        path: what a client asked for; as the request's id it is no part of the cause.
        span: of that request, where it is traced.
        traceparent: what its client sent; it tells the trace of a request that has no span here.
        error: an exception that belongs to it; its type and frames are told, not its text.
        cause: the same where it has been described already.
        kind: tells causes apart that have the rest in common; one of few, never a client's text.
        facts: further fields. Texts among them are part of the cause that the rate is limited
            by, numbers are not.
    """
    if not logger.isEnabledFor(event.level):
        return
    if error is not None and cause is None:
        cause = describe(error)
    caller = sys._getframe(1)
    code, line, now = caller.f_code, caller.f_lineno, time.time()
    where = (cause and cause.location) or (code, line)
    texts = tuple([fact for fact in facts.values() if isinstance(fact, str)])

    def make() -> logging.LogRecord:
        given = {"model": model, "version": version, "request_id": request_id, "path": path}
        fields: Fields = {name: text[:MOST_TEXT] for name, text in given.items() if text}
        fields.update(_trace(span, traceparent))
        fields.update((name, _bounded(fact)) for name, fact in facts.items())
        record = logging.LogRecord(
            logger.name, event.level, code.co_filename, line, message[:MOST_TEXT], (), None,
            code.co_name,
        )  # fmt: skip
        record.created, record.msecs = now, now % 1 * 1000
        if cause is not None:
            fields["error"] = cause.type
            if cause.location:
                fields["location"] = cause.location
            if cause.exception:
                record.exc_text = cause.exception  # formatters of all kinds append it as it is
        setattr(record, FIELDS, {"event": event.label, **fields})
        return record

    # An overloaded server refuses thousands in a second, and each must cost little.
    _reporter.write((event, model, version, cause and cause.type, where, kind, texts), make)


def _trace(span: SpanIds | None, traceparent: bytes) -> Fields:
    """Return the ids of a request's trace and span, under the names of OpenTelemetry."""
    if span is not None:
        return {"trace_id": f"{span.trace:032x}", "span_id": f"{span.span:016x}"}
    parent = parent_of(traceparent) if traceparent else None
    return {} if parent is None else {"trace_id": f"{parent[0]:032x}"}


def _bounded(fact: object) -> object:
    return fact[:MOST_TEXT] if isinstance(fact, str) else fact
