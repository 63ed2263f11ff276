"""Switches severities of a process's log on and off while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from serving.telemetry.logs.lines import JsonLines, TextLines

LOG_FORMAT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"


class LogSettings(msgspec.Struct, frozen=True):
    """Triton's log settings that can be changed while the server runs.

    Attributes:
        log_info, log_warning, log_error: whether records of that severity are written.
        log_verbose_level: 0 writes none of the details, 1 and more all of them.
        log_format: how times look in lines of text: `default`, or `ISO8601` in UTC.
    """

    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: int = 0
    log_format: Literal["default", "ISO8601"] = "default"


class LogSwitch:
    """Applies log settings to the process's handlers and to Vigil's own loggers.

    Args:
        handlers: those to switch; None for the root logger's.
        logger: name of the loggers whose details `log_verbose_level` shows.
    """

    def __init__(
        self, handlers: Sequence[logging.Handler] | None = None, logger: str = "vigil"
    ) -> None:
        self._handlers = handlers
        self._logger = logging.getLogger(logger)
        self._settings = LogSettings()
        self._quiet = self._logger.level
        """What it tells while no details are asked for; it is set before the first switch."""

    def apply(self, settings: LogSettings) -> None:
        """Log as `settings` say from now on."""
        if settings == self._settings:
            return
        self._settings = settings
        self._logger.setLevel(logging.DEBUG if settings.log_verbose_level else self._quiet)
        handlers = self._handlers
        if handlers is None:
            handlers = logging.getLogger().handlers or [_last_resort()]
        for handler in handlers:
            _set_times(handler, settings)
            if self._passes not in handler.filters:
                handler.addFilter(self._passes)

    def _passes(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return self._settings.log_error
        if record.levelno >= logging.WARNING:
            return self._settings.log_warning
        return self._settings.log_info if record.levelno >= logging.INFO else True


def _set_times(handler: logging.Handler, settings: LogSettings) -> None:
    """Have a handler write times as they are wanted; those in JSON always look the same."""
    if isinstance(handler.formatter, TextLines):
        handler.formatter.utc = settings.log_format == "ISO8601"
    elif not isinstance(handler.formatter, JsonLines):
        handler.setFormatter(_formatter(settings))


def _formatter(settings: LogSettings) -> logging.Formatter:
    if settings.log_format == "default":
        return logging.Formatter(LOG_FORMAT)
    formatter = logging.Formatter(LOG_FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    return formatter


def _last_resort() -> logging.Handler:
    assert logging.lastResort is not None
    return logging.lastResort
