"""Sends everything that a process logs to standard error, in one form, through one handler."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, get_args

from serving.telemetry.exporting import why_unmade
from serving.telemetry.logs.collected import ENDPOINT, PROTOCOL, Collector, collector_of
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.export_lines import variable_ignored
from serving.telemetry.logs.lines import JsonLines, Lines, TextLines
from serving.telemetry.logs.report import FIELDS, current, logger, report

if TYPE_CHECKING:
    from serving.telemetry.logs.collector_handler import CollectorHandler

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

FORMAT: Final = "VIGIL_LOG_FORMAT"
LEVEL: Final = "VIGIL_LOG_LEVEL"
"""Environment variables by which processes that this one starts know the settings."""

QUIET: Final = ("httpx", "httpcore", "uvicorn")
"""Libraries that tell of every request that they send, or that they have started."""


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records to the process's standard error, and limits those of libraries."""

    def __init__(self, lines: Lines) -> None:
        # Not `sys.stderr`: Ray Serve lets that write to a file of its own.
        super().__init__(sys.__stderr__ or sys.stderr)
        self.setFormatter(lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of ours; one of a library only as often as its cause may."""
        if hasattr(record, FIELDS):
            super().emit(record)
            return
        # So that it is kept as text, and holds no exception with its frames meanwhile.
        assert isinstance(self.formatter, Lines)
        fields = self.formatter.fields(record)
        own = {name: fields[name] for name in ("event", "error", "location") if name in fields}
        kept = logging.LogRecord(
            record.name, record.levelno, record.pathname, record.lineno, fields["message"], (), None
        )
        kept.created, kept.msecs = record.created, record.msecs
        kept.exc_text = fields.get("exception")
        setattr(kept, FIELDS, own)
        about = (own.get("error"), own.get("location"))
        cause = (record.name, record.levelno, record.pathname, record.lineno, *about)
        current().write(cause, lambda: kept)


def configure(
    role: str,
    form: LogFormat | None = None,
    level: LogLevel | None = None,
    *,
    model: str = "",
    version: str = "",
    collector: tuple[str | None, str | None] | None = None,
    sends: bool = True,
) -> None:
    """Have this process log to standard error. Called again it replaces what it did before.

    Args:
        role: what this process is, in every line.
        form: `json`, `text`, or `auto`: text on a terminal; None: what the process that started
            this one was told.
        level: the least severe lines that are written; None: likewise.
        model, version: what the process serves, if that is one version only.
        collector: endpoint and protocol of a collector of lines, as the configuration says them;
            None: what the process that started this one was told.
        sends: whether lines go to a collector at all; a process that is forked must have no thread
            that sends them.
    """
    chosen = form or os.environ.get(FORMAT)
    json = chosen == "json" or (
        chosen != "text" and not (sys.__stderr__ and sys.__stderr__.isatty())
    )
    told: str = level or os.environ.get(LEVEL, "")
    told = told if told in get_args(LogLevel) else "info"
    os.environ[FORMAT], os.environ[LEVEL] = "json" if json else "text", told
    if collector is not None:
        for name, value in zip((ENDPOINT, PROTOCOL), collector, strict=True):
            os.environ[name] = value or ""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, StderrHandler) or _is_plain(handler):
            root.removeHandler(handler)
    form_of = JsonLines if json else TextLines
    root.addHandler(StderrHandler(form_of(role, model, version)))
    number = logging.getLevelNamesMapping()[told.upper()]
    root.setLevel(max(number, logging.INFO))  # libraries' details help nobody
    logger.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _process_crashed
    threading.excepthook = _thread_crashed
    sys.unraisablehook = _unraisable
    where = collector_of(os.environ) if sends else None
    _send(where, Lines(role, model, version))
    if where is not None and collector is not None:  # not by each process that it starts
        for said in where.ignored:
            variable_ignored(said)
    atexit.register(last_lines)


def adopt(*names: str) -> None:
    """Take the handlers for standard error and output away from loggers of libraries.

    What they log then reaches the handler of `configure`.
    """
    for name in names:
        other = logging.getLogger(name)
        for handler in other.handlers[:]:
            if _is_plain(handler):
                other.removeHandler(handler)
        other.propagate = True


def writes_json() -> bool:
    """Whether this process logs in JSON."""
    return any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers)


def _is_plain(handler: logging.Handler) -> bool:
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return isinstance(handler, logging.StreamHandler) and handler.stream in streams


def last_lines() -> None:
    """Write what was kept back, and send what waits; for a short while at most."""
    current().flush(everything=True)
    _send(None, None)


def _send(where: Collector | None, lines: Lines | None) -> None:
    """Send lines to a collector from now on, or to none; what waits for the one before is sent."""
    global _sender
    before, _sender = _sender, None
    if before is not None:
        logging.getLogger().removeHandler(before)
        before.stop()
    if where is not None and lines is not None:
        _sender = _open(where, lines)
    if _sender is not None:
        logging.getLogger().addHandler(_sender)


def _open(where: Collector, lines: Lines) -> CollectorHandler | None:
    """Return what sends lines; None, with a line that says so, where there can be nothing."""
    from serving.telemetry.logs.collector_handler import CollectorHandler, open_exporter

    try:
        return CollectorHandler(open_exporter(where), lines)
    except Exception as error:  # noqa: BLE001 - a package, variable or file that cannot be read
        said = why_unmade(
            error, "the log goes to standard error alone", "its exporter", "telemetry.logs"
        )
        report(Event.LOGS_NOT_EXPORTED, said, error=error)
    return None


_sender: CollectorHandler | None = None


def _process_crashed(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    report(Event.PROCESS_CRASHED, "an error that nobody expected ends this process", error=error)


def _thread_crashed(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is None or raised.exc_type is SystemExit:
        return
    name = raised.thread.name if raised.thread else ""
    report(
        Event.THREAD_CRASHED,
        "an error that nobody expected ends a thread",
        error=raised.exc_value,
        thread=name,
    )


def _unraisable(raised: sys.UnraisableHookArgs) -> None:
    if raised.exc_value is not None:
        report(
            Event.THREAD_CRASHED,
            "an error was raised where nobody can catch it",
            error=raised.exc_value,
        )
