"""Telling, before a request is read, that its queue has no room for it."""

from __future__ import annotations


class Crowding:
    """Learns from the requests that a queue has refused how full is too full.

    A queue that refused a request of r rows is taken for full as long as one like it would not fit,
    whatever the next one's size may be: to read it only to refuse it costs as much as to serve it.
    Room is lost by that only for smaller ones, and never more than half the queue. Forgotten once
    the queue is half empty.

    Args:
        max_rows, max_bytes: bounds of the queue.

    Attributes:
        active: whether the queue has refused somebody, and has not been half empty since.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_rows", "_rows", "active")

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows, self._bytes = max_rows, max_bytes
        self.active = False

    def refused(self, rows: int, size: int) -> None:
        """Learn that a request of so many rows and bytes did not fit."""
        self.active = True
        self._rows = max(self._max_rows // 2, min(self._rows, self._max_rows - rows))
        self._bytes = max(self._max_bytes // 2, min(self._bytes, self._max_bytes - size))

    def full(self, rows: int, size: int) -> bool:
        """Whether a queue in which so many rows and bytes wait would refuse another request."""
        return self.active and (rows > self._rows or size > self._bytes)

    def eased(self, rows: int, size: int) -> bool:
        """Whether the queue, in which so much waits, is crowded no longer; forgets it then."""
        if rows * 2 > self._max_rows or size * 2 > self._max_bytes:
            return False
        self._rows, self._bytes = self._max_rows, self._max_bytes
        self.active = False
        return True
