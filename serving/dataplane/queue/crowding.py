"""Telling, before a request is read, that its queue has no room for it."""

from __future__ import annotations

from typing import Final

REMEMBER_S: Final = 1.0
"""Seconds after a refusal; a batch may take half the queue at once, and that is no calm."""


class Crowding:
    """Learns from the requests that a queue has refused how full is too full.

    A queue that refused a request of r rows is taken for full as long as one like it would not fit,
    whatever the next one's size may be: to read it only to refuse it costs as much as to serve it.
    Room is lost by that only for smaller ones, and never more than half the queue. Forgotten once
    the queue is half empty and has refused nobody for a second.

    Args:
        max_rows, max_bytes: bounds of the queue.

    Attributes:
        active: whether the queue has refused somebody, and has not eased since.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_rows", "_refused_at", "_rows", "active")

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows, self._bytes = max_rows, max_bytes
        self._refused_at = 0.0
        self.active = False

    def refused(self, rows: int, size: int, now: float) -> None:
        """Learn that a request of so many rows and bytes did not fit at `now`, in seconds."""
        self.active = True
        self._refused_at = now
        self._rows = max(self._max_rows // 2, min(self._rows, self._max_rows - rows))
        self._bytes = max(self._max_bytes // 2, min(self._bytes, self._max_bytes - size))

    def full(self, rows: int, size: int) -> bool:
        """Whether a queue in which so many rows and bytes wait would refuse another request."""
        return self.active and (rows > self._rows or size > self._bytes)

    def eased(self, rows: int, size: int, now: float) -> bool:
        """Whether the queue, in which so much waits, is crowded no longer; forgets it then."""
        if rows * 2 > self._max_rows or size * 2 > self._max_bytes:
            return False
        if now < self._refused_at + REMEMBER_S:
            return False
        self._rows, self._bytes = self._max_rows, self._max_bytes
        self.active = False
        return True
