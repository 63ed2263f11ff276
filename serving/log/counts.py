"""What became of rows that were to be logged, counted; the sum is exact at any time."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def reason_of(error: BaseException) -> str:
    """Return why rows could not be written: one of a closed set, which becomes an attribute."""
    if not isinstance(error, OSError):
        return "unwritable"
    if error.errno in _FULL:
        return "disk_full"
    return "read_only" if error.errno in _FORBIDDEN else "io_error"


@dataclass(slots=True)
class LogCounts:
    """Cumulative counts of one writer: `offered = stored + sampled_out + dropped + waiting`.

    Attributes:
        offered: rows that were given to it.
        stored: rows that are in a stream or a part.
        sampled_out: rows that `sample` left out.
        dropped: rows by reason: `queue_full`, `spool_full`, `disk_full`, `read_only`, `io_error`,
            `unwritable` (what they hold is no column), `stopped`.
        waiting: rows in the queue.
        sensitive_dropped: rows whose predictions were stored, but not their sensitive values.
        labels: labels that are in a stream or a part.
        labels_dropped: labels that could not be written; the monitor has them all the same.
        recovered: rows and labels that a writer before this one had left in streams.
        torn: streams of such writers that ended in a torn message, which is cut off.
        parts: files that were finished.
        failures: writes that failed: of rows to a stream, and attempts to finish a file, which
            are repeated.
        deleted: files that retention has deleted.
        disk_error: why the last rows were not written; None when they were.
        store_error: why the last file could not be finished or deleted; None when it was.
        row_error: why rows were `unwritable` last.
    """

    offered: int = 0
    stored: int = 0
    sampled_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    sensitive_dropped: int = 0
    labels: int = 0
    labels_dropped: int = 0
    recovered: int = 0
    torn: int = 0
    parts: int = 0
    failures: int = 0
    deleted: int = 0
    disk_error: str | None = None
    store_error: str | None = None
    row_error: str | None = None


class SharedCounts:
    """Counts that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = LogCounts()

    def take(self, rows: int) -> None:
        """Count rows that wait from now on."""
        with self._lock:
            self._counts.offered += rows
            self._counts.waiting += rows

    def refuse(self, reason: str, rows: int) -> None:
        """Count rows that never waited."""
        with self._lock:
            self._counts.offered += rows
            self._counts.dropped[reason] += rows

    def store(self, rows: int, sampled_out: int) -> None:
        """Count rows that wait no longer: stored, or left out by `sample`."""
        with self._lock:
            self._counts.waiting -= rows + sampled_out
            self._counts.stored += rows
            self._counts.sampled_out += sampled_out

    def drop(self, reason: str, rows: int) -> None:
        """Count rows that wait no longer and are lost."""
        with self._lock:
            self._counts.waiting -= rows
            self._counts.dropped[reason] += rows

    def add(self, name: str, count: int = 1) -> None:
        """Add to one of the others."""
        with self._lock:
            setattr(self._counts, name, getattr(self._counts, name) + count)

    def note(self, name: str, why: str | None) -> None:
        """Set one of the errors."""
        with self._lock:
            setattr(self._counts, name, why)

    def snapshot(self) -> LogCounts:
        """Return a copy."""
        with self._lock:
            return replace(self._counts, dropped=Counter(self._counts.dropped))
