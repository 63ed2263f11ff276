"""Switches severities of a process's log on and off while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from serving.channel.settings import LogSettings

LOG_FORMAT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"


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

    def apply(self, settings: LogSettings) -> None:
        """Log as `settings` say from now on."""
        if settings == self._settings:
            return
        self._settings = settings
        self._logger.setLevel(logging.DEBUG if settings.log_verbose_level else logging.INFO)
        handlers = self._handlers
        if handlers is None:
            handlers = logging.getLogger().handlers or [_last_resort()]
        formatter = _formatter(settings)
        for handler in handlers:
            handler.setFormatter(formatter)
            if self._passes not in handler.filters:
                handler.addFilter(self._passes)

    def _passes(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return self._settings.log_error
        if record.levelno >= logging.WARNING:
            return self._settings.log_warning
        return self._settings.log_info if record.levelno >= logging.INFO else True


def _formatter(settings: LogSettings) -> logging.Formatter:
    if settings.log_format == "default":
        return logging.Formatter(LOG_FORMAT)
    formatter = logging.Formatter(LOG_FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    return formatter


def _last_resort() -> logging.Handler:
    assert logging.lastResort is not None
    return logging.lastResort
