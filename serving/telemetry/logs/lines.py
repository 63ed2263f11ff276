"""The two forms of a line: a JSON object for machines, and plain text for a terminal."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from typing import Any, Final

import orjson

from serving.telemetry.logs.causes import describe
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import FIELDS, MOST_TEXT, Fields

_WARNINGS: Final = "py.warnings"
_ASYNCIO: Final = "asyncio"
# What follows the colon is a matter of `warnings.formatwarning`, which libraries replace.
_WARNING: Final = re.compile(r"(?P<location>.*?:\d+): (?P<category>\w+):\s")


class Lines(logging.Formatter):
    """What both forms have in common: the fields of a line, of any record.

    Args:
        role: what this process is, such as `gateway`.
        model, version: what it serves, if that is one version only; in every line that does not
            say what it is about, as those that the model's own code logs.
    """

    def __init__(self, role: str, model: str = "", version: str = "") -> None:
        super().__init__()
        self._role = role
        self._about = {"model": model, "version": version} if model else {}

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return when it happened: RFC 3339, UTC, milliseconds."""
        milliseconds = int(record.created * 1000)
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
        return f"{seconds}.{milliseconds % 1000:03d}Z"

    def fields(self, record: logging.LogRecord) -> Fields:
        """Return everything that a line says, by name; never raises."""
        own: Fields | None = getattr(record, FIELDS, None)
        if own is None:
            # Not its `exc_text`: another handler may have left the exception's text there.
            own, message, exception = _of_a_library(record)
        else:
            message, exception = record.getMessage(), record.exc_text
        fields: Fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": own["event"],
            "message": message[:MOST_TEXT],
            **self._about,
            **own,
            "role": self._role,
            "pid": os.getpid(),
        }
        if exception:
            fields["exception"] = exception
        return fields


class JsonLines(Lines):
    """One JSON object a line; what could end the line is escaped in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return encoded(self.fields(record))


class TextLines(Lines):
    """A line for people, and the exception, if there is one, in lines below it.

    Attributes:
        utc: whether times are in UTC, as ISO 8601, and not in local time.
    """

    utc = False

    def format(self, record: logging.LogRecord) -> str:
        """Return the line or lines."""
        fields = self.fields(record)
        at = fields["time"] if self.utc else logging.Formatter.formatTime(self, record)
        about = " ".join(
            f"{name}={_plain(value)}" for name, value in fields.items() if name not in _UNNAMED
        )
        level = fields["level"].upper()
        line = f"{at} {self._role} {level} {fields['event']}: {_plain(fields['message'])}"
        exception = "\n" + fields["exception"] if "exception" in fields else ""
        return f"{line} ({about}){exception}" if about else line + exception


_UNNAMED: Final = frozenset({
    "time", "level", "logger", "event", "message", "role", "pid", "exception"
})  # fmt: skip


def encoded(fields: Fields) -> str:
    """Return fields as one line of JSON."""
    try:
        line = orjson.dumps(fields, default=str).decode()
        if line.isprintable():
            return line
    except orjson.JSONEncodeError:
        pass  # text that is no Unicode, or a large number
    # Some readers end lines at U+2028 or U+0085, and terminals obey U+009B: all of it is escaped.
    return json.dumps({name: _unicode(value) for name, value in fields.items()}, default=str)


def _unicode(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def _plain(value: object) -> str:
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _of_a_library(record: logging.LogRecord) -> tuple[Fields, str, str | None]:
    """Return fields, message and exception of a record that others wrote."""
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong format must cost no line
        message = f"{record.msg} (its arguments do not fit: {type(error).__name__})"
    own: Fields = {"event": Event.LIBRARY_LOG.label}
    if record.name == _WARNINGS:
        # Its text may quote values of a request, as an exception's may.
        found = _WARNING.match(message)
        own = {"event": Event.LIBRARY_WARNING.label}
        if found is None:
            return own, "a library warned", None
        own["location"] = found["location"]
        own["error"] = found["category"]
        return own, f"{found['category']} at {found['location']}", None
    if record.name == _ASYNCIO:
        # What follows are representations of tasks and callbacks, with arguments and exceptions.
        message = re.split(r"[(\n]", message, maxsplit=1)[0].rstrip()
    if not record.exc_info or (raised := record.exc_info[1]) is None:
        return own, message, None
    cause = describe(raised)
    own["error"] = cause.type
    if cause.location:
        own["location"] = cause.location
    return own, message, cause.exception
