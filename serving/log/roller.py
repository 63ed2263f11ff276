"""The thread that finishes streams, takes over those of dead writers, and deletes old files.

It is one of its own, because a store that is away or slow must not keep rows from being flushed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from serving.log.counts import SharedCounts
from serving.log.folder_lock import folder_lock
from serving.log.retention import Retention, retain
from serving.log.roll import READ_ERRORS, Rolled, roll
from serving.log.spool import SpoolFolder, StreamFile, dead_folders, streams_in
from serving.log.store import Store

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_GRACE_S: Final = 1.0
"""A store that does not answer is waited for no longer; then the lock goes with the process."""
_RETENTION_EVERY_S: Final = 600.0
_POSTPONED_S: Final = 30.0
"""Retention waits so long while a subject is forgotten, or another writer deletes."""


class Roller:
    """Finishes one stream after the other; what fails is tried again, after pauses that grow.

    Args:
        store: where parts go.
        spool: the folder of all writers.
        own: this writer's folder in it.
        retention: what is deleted.
        counts: what is told of it.
        clock: the time of day, for retention.
    """

    def __init__(
        self,
        store: Store,
        spool: Path,
        own: SpoolFolder,
        retention: Retention,
        counts: SharedCounts,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._spool, self._own = store, spool, own
        self._retention, self._counts, self._clock = retention, counts, clock
        self._streams: deque[StreamFile] = deque()
        self._sizes: dict[Path, int] = {}
        self._left: list[SpoolFolder] = []
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="log-roller", daemon=True)

    def start(self) -> None:
        """Begin with what dead writers have left."""
        self._thread.start()

    def add(self, stream: StreamFile) -> None:
        """Take a finished stream."""
        try:
            size = stream.path.stat().st_size
        except OSError:
            size = 0
        self._sizes[stream.path] = size
        self._streams.append(stream)
        self._news.set()

    @property
    def size(self) -> int:
        """Bytes in streams that wait for the store."""
        return sum(list(self._sizes.values()))

    def stop(self, timeout_s: float) -> None:
        """Finish what waits, for so long at most; the rest stays for the next writer."""
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s + _GRACE_S)
        if not self._thread.is_alive():
            for folder in (*self._left, self._own):
                folder.remove()

    def _run(self) -> None:
        self._take_over()
        next_retention = 0.0
        while True:
            # Asked before: what is added while a slow store is asked to delete is rolled, too.
            last = self._stopping.is_set()
            failed = self._roll_all()
            if time.monotonic() >= next_retention and not failed:
                pause_s = self._retain()
                failed = pause_s is None
                next_retention = time.monotonic() + (pause_s or 0.0)
            if last and not (failed and time.monotonic() < self._deadline):
                return
            self._wait(failed, next_retention)

    def _wait(self, failed: bool, next_retention: float) -> None:
        if failed:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            if self._stopping.is_set():
                time.sleep(min(self._pause, max(0.0, self._deadline - time.monotonic())))
            else:
                self._stopping.wait(self._pause)
            return
        self._pause = 0.0
        self._news.wait(max(0.0, next_retention - time.monotonic()))
        self._news.clear()

    def _take_over(self) -> None:
        try:
            for folder in dead_folders(self._spool):
                self._left.append(folder)
                for stream in streams_in(folder.path):
                    self.add(stream)
        except OSError as error:
            self._failed(error)

    def _roll_all(self) -> bool:
        """Finish what waits until one fails; return whether one did."""
        while self._streams:
            stream = self._streams[0]
            try:
                rolled = roll(stream, self._store)
            except READ_ERRORS as error:
                if not isinstance(error, FileNotFoundError) or stream.path.exists():
                    self._failed(error)
                    return True
                # Somebody took it away: it never comes back, and those behind it must not wait.
                self._counts.add("failures")
                rolled = Rolled(0, 0)
            self._streams.popleft()
            self._sizes.pop(stream.path, None)
            # Before the count that it goes with: who waits for that reads this next.
            self._counts.note("store_error", None)
            self._counts.add("parts", rolled.rows > 0)
            if not stream.path.is_relative_to(self._own.path):
                self._counts.add("recovered", rolled.rows)
                self._counts.add("torn", rolled.torn > 0)
        return False

    def _retain(self) -> float | None:
        """Delete what is old; return after how many seconds to look again, None when it failed."""
        try:
            with folder_lock(self._spool, alone=True) as locked:
                if not locked:
                    return _POSTPONED_S
                self._counts.add("deleted", retain(self._store, self._retention, self._clock()))
        except READ_ERRORS as error:
            self._failed(error)
            return None
        self._counts.note("store_error", None)
        return _RETENTION_EVERY_S

    def _failed(self, error: BaseException) -> None:
        self._counts.note("store_error", str(error))
        self._counts.add("failures")
