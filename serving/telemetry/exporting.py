"""What exporters of spans and of lines share: quiet libraries, and an end within a time."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

STOP_TIMEOUT_S: Final = 1.0
LINES_STOP_TIMEOUT_S: Final = 0.5
"""Gateways end, then the roles behind them, then the control plane, each with its spans, lines or
metrics; all of it together takes 5 s at most. Lines are on standard error all the same."""
FAILING_STOP_TIMEOUT_S: Final = 0.3
"""Where the last export has failed already."""

# The libraries log each failed try; here a change is logged once.
_CHATTY: Final = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal", "urllib3")


class Exporter(Protocol):
    """What is asked of one of the SDK's exporters at its end."""

    def shutdown(self) -> None:
        """Give up what is under way."""


class ExporterEnd:
    """Tells changes between failing and working, and ends an exporter once."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._failing = False
        self._cut = threading.Lock()
        self._closed = False

    def patience_s(self, timeout_s: float) -> float:
        """Return for how long to wait at the end: not for long where exports fail."""
        return min(timeout_s, FAILING_STOP_TIMEOUT_S) if self._failing else timeout_s

    def changed(self, *, failed: bool) -> bool:
        """Take note of how an export went; whether that is worth a line."""
        changed = failed != self._failing and not self._closed
        if changed:
            self._failing = failed
        return changed

    def cut_short(self) -> None:
        """Give up what is under way."""
        with self._cut:
            if not self._closed:
                self._closed = True
                self._exporter.shutdown()


def quieten() -> None:
    """Have the libraries of exporters log nothing below critical; call it before one is made."""
    # It writes to standard error itself, in no form, of each handshake that fails.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def stop_within(timeout_s: float, shutdown: Callable[[], object], end: ExporterEnd) -> None:
    """Send what waits and end a processor's thread, within `timeout_s`; then leave it behind."""
    timeout_s = end.patience_s(timeout_s)
    deadline = time.monotonic() + timeout_s
    stopping = threading.Thread(target=shutdown, daemon=True)
    stopping.start()
    # Two thirds of the time to finish on its own, then its retries are cut short.
    stopping.join(timeout_s * 2 / 3)
    if stopping.is_alive():
        end.cut_short()
        stopping.join(max(0.0, deadline - time.monotonic()))


def why_unmade(error: Exception, what_follows: str, what: str, section: str) -> str:
    """Say why there is no exporter.

    Args:
        error: what making it has raised.
        what_follows, what: parts of the sentence: `nothing is traced`, `the exporter of traces`.
        section: of the configuration, whose `protocol` names the package.
    """
    if isinstance(error, ImportError):
        return (
            f"{what_follows}: `{section}.protocol: grpc` needs a package that is not installed; "
            "`pip install 'vigil[otlp-grpc]'`, or set http/protobuf"
        )
    return f"{what_follows}: {what} cannot be made: {error}"
