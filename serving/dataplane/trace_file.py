"""Writes traces to a file of bounded size, in a thread, so that the loop never waits for a disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 16 << 20
"""Size at which the file becomes `<name>.1`, in place of the one before."""
MOST_WAITING: Final = 1000
"""Chunks that may wait for the disk; more are dropped."""

_log = logging.getLogger("vigil.gateway")


class TraceFile:
    """One file of JSON lines.

    Args:
        path: the file; its folder is made.
        most_bytes: when it is put aside.

    Attributes:
        dropped: lines that were not written, because the disk did not keep up or failed.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._chunks: queue.Queue[Sequence[bytes] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, lines: Sequence[bytes]) -> None:
        """Have lines appended; returns at once."""
        try:
            self._chunks.put_nowait(lines)
        except queue.Full:
            self.dropped += len(lines)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, within a bounded time."""
        try:
            self._chunks.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failing = False
        while (lines := self._chunks.get()) is not None:
            try:
                self._append(b"".join(lines))
                failing = False
            except OSError as error:
                self.dropped += len(lines)
                if not failing:
                    _log.error("traces cannot be written: %s", error)
                failing = True

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell() and file.tell() + len(data) > self._most_bytes:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            else:
                file.write(data)
                return
        self._path.write_bytes(data)
