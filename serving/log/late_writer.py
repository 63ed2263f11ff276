"""A writer that begins as soon as its disk allows: a full one is no reason not to begin later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from serving.log.counts import LogCounts, SharedCounts, reason_of
from serving.log.label_rows import LabelRows
from serving.log.rows import LogRows
from serving.log.stream_names import Cut, StreamNames
from serving.log.writer import LogWriter

RETRY_S: Final = 5.0


class LateWriter:
    """Makes and starts a writer, tries again if that fails, and meanwhile counts rows as lost.

    Args:
        make: makes the writer, which names its streams so, or raises OSError.
        clock: monotonic seconds.
    """

    def __init__(
        self, make: Callable[[StreamNames], LogWriter], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make = make
        self._names = StreamNames()
        self._clock = clock
        self._before = SharedCounts()
        self._lock = threading.Lock()
        self._writer: LogWriter | None = None
        self._reason = "stopped"
        self._next_try = float("-inf")
        self._closed = False

    def start(self) -> None:
        """Begin, if that is possible now."""
        self._opened()

    def offer(self, rows: LogRows) -> bool:
        """As `LogWriter.offer`."""
        writer = self._writer or self._opened()
        if writer is not None:
            return writer.offer(rows)
        self.refuse(self._reason, rows.count)
        return False

    def offer_labels(self, labels: LabelRows) -> bool:
        """As `LogWriter.offer_labels`."""
        writer = self._writer or self._opened()
        if writer is not None:
            return writer.offer_labels(labels)
        self._before.add("labels_dropped", labels.count)
        return False

    def refuse(self, reason: str, rows: int) -> None:
        """Count rows as dropped that could not be offered."""
        self._before.refuse(reason, rows)

    def flush(self, timeout_s: float) -> bool:
        """As `LogWriter.flush`."""
        return self._writer is None or self._writer.flush(timeout_s)

    def cut(self, timeout_s: float) -> Cut | None:
        """As `LogWriter.cut`."""
        with self._lock:
            if self._writer is None:
                return self._names.make(Cut())
        return self._writer.cut(timeout_s)

    def counts(self) -> LogCounts:
        """As `LogWriter.counts`, with the rows that were lost before it was there."""
        before = self._before.snapshot()
        if self._writer is None:
            return before
        counts = self._writer.counts()
        counts.offered += before.offered
        counts.dropped += before.dropped
        counts.failures += before.failures
        counts.labels_dropped += before.labels_dropped
        return counts

    def close(self, timeout_s: float) -> None:
        """As `LogWriter.close`."""
        with self._lock:
            self._closed, self._reason = True, "stopped"
        if self._writer is not None:
            self._writer.close(timeout_s)

    def _opened(self) -> LogWriter | None:
        with self._lock:
            if self._writer is None and not self._closed and self._clock() >= self._next_try:
                self._next_try = self._clock() + RETRY_S
                try:
                    writer = self._make(self._names)
                    writer.start()
                    self._writer = writer
                except OSError as error:
                    self._reason = reason_of(error)
                    self._before.add("failures")
                    self._before.note("disk_error", str(error))
            return self._writer
