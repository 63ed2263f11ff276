"""Writes traces to a file of bounded size, in a thread, so that the loop never waits for a disk."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_BYTES: Final = 16 << 20
"""Size at which the file becomes `<name>.1`, in place of the one before."""
MOST_WAITING: Final = 8 << 20
"""Bytes that may wait for the disk; more are dropped."""


class TraceFile:
    """One file of JSON lines, for its owner alone: it may hold what clients have sent.

    Args:
        path: the file; its folder is made.
        most_bytes: when it is put aside.

    Attributes:
        dropped: traces that were not written, because the disk did not keep up or failed.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._chunks: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, traces: Sequence[bytes]) -> None:
        """Have traces appended, each some whole lines; returns at once."""
        data = b"".join(traces)
        with self._lock:
            if self._waiting and self._waiting + len(data) > MOST_WAITING:
                self.dropped += len(traces)
                return
            self._waiting += len(data)
        self._chunks.put((data, len(traces)))

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, within a bounded time."""
        self._chunks.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failing = False
        while (chunk := self._chunks.get()) is not None:
            data, traces = chunk
            try:
                self._append(data)
                failing = False
            except OSError as error:
                self.dropped += traces
                if not failing:
                    said = f"traces cannot be written: {error.strerror}"
                    report(Event.TRACES_NOT_WRITTEN, said, file=str(self._path), error=error)
                failing = True
            with self._lock:
                self._waiting -= len(data)

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "ab", opener=_private) as file:
            if not file.tell() or file.tell() + len(data) <= self._most_bytes:
                file.write(data)
                return
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        with open(self._path, "wb", opener=_private) as file:
            file.write(data)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # one of an earlier release may be open to others
    return descriptor
