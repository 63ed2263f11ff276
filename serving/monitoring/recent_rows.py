"""The latest rows of a stream, bounded in rows and bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

MAX_BYTES: Final = 32 << 20

_Batch = tuple[int, int, Mapping[str, np.ndarray], Sequence[str]]
"""Rows, bytes, columns and the clients' ids of a batch."""


class RecentRows:
    """Keeps whole batches while the older ones are still needed to fill `capacity` rows.

    Args:
        capacity: rows to keep.
        max_bytes: forget earlier than that when the rows are large.
    """

    def __init__(self, capacity: int, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._batches: deque[_Batch] = deque()
        self._rows = 0
        self._bytes = 0

    def append(
        self, columns: Mapping[str, np.ndarray], rows: int, idents: Sequence[str] = ()
    ) -> None:
        """Take in a batch: arrays [rows] by name, the same names every time.

        Args:
            columns, rows: the batch.
            idents: the client's id of each row's request.
        """
        size = sum(array.nbytes for array in columns.values())
        self._batches.append((rows, size, columns, idents))
        self._rows += rows
        self._bytes += size
        while len(self._batches) > 1 and (
            self._rows - self._batches[0][0] >= self._capacity or self._bytes > self._max_bytes
        ):
            old_rows, old_size, _, _ = self._batches.popleft()
            self._rows -= old_rows
            self._bytes -= old_size

    def forget(self, idents: Collection[str]) -> None:
        """Forget the rows of requests.

        Args:
            idents: the clients' ids.
        """
        batches, self._batches = self._batches, deque()
        self._rows = self._bytes = 0
        for rows, size, columns, their_idents in batches:
            kept = [at for at, ident in enumerate(their_idents) if ident not in idents]
            if len(kept) == len(their_idents):
                self._batches.append((rows, size, columns, their_idents))
            elif kept:
                left = {name: array[kept] for name, array in columns.items()}
                size = sum(array.nbytes for array in left.values())
                self._batches.append((len(kept), size, left, [their_idents[at] for at in kept]))
                rows = len(kept)
            else:
                continue
            self._rows += rows
            self._bytes += size

    def columns(self) -> dict[str, np.ndarray]:
        """Return the latest rows, at most `capacity`, in order of arrival."""
        if not self._batches:
            return {}
        return {
            name: np.concatenate([columns[name] for _, _, columns, _ in self._batches])[
                -self._capacity :
            ]
            for name in self._batches[-1][2]
        }
