"""Windows of a number of rows, or of a time, that follow each other without gap or overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class TumblingWindow:
    """Cuts a stream of batches into windows of `size` rows; a batch may span several windows.

    A window that has lasted long enough ends before the next batch, also with fewer rows. Time is
    that of the events, so that the same rows give the same windows whenever they are shown; the
    last window of a stream that has stopped stays open.

    Args:
        size: rows per window, positive.
        seconds: after so long a window ends with fewer rows; infinite: never.
        least: rows that it then needs; with less it goes on.
    """

    def __init__(self, size: int, seconds: float = math.inf, least: int = 1) -> None:
        if size < 1:
            raise ValueError("a window needs at least one row")
        self.size = size
        self.seconds, self._least = seconds, max(least, 1)
        self.rows = 0
        self._number = 0
        self._first, self._last = math.inf, -math.inf
        self._labelled: int | None = None
        self._latest_labelled: int | None = None

    @property
    def ident(self) -> str:
        """Tells the current window from all others of the stream: its number and its beginning.

        The number alone would not: a monitor may begin anew and count from 0 again.
        """
        return f"{self._number}@{self._first:.3f}"

    @property
    def span(self) -> tuple[float, float]:
        """First and last event time in the current window; event times may be out of order."""
        return self._first, self._last

    def add(
        self,
        rows: int,
        timestamp: float,
        count: Callable[[slice], None],
        close: Callable[[], None],
    ) -> None:
        """Take in a batch.

        Args:
            rows: rows of the batch.
            timestamp: its event time in seconds.
            count: called with each part of the batch that belongs to one window.
            close: called whenever a window ends, before the next one begins; `rows` are those
                that it had.
        """
        if rows and self.rows >= self._least and timestamp - self._first >= self.seconds:
            self._end(close)
        start = 0
        while start < rows:
            stop = min(start + self.size - self.rows, rows)
            count(slice(start, stop))
            self.rows += stop - start
            self._first = min(self._first, timestamp)
            self._last = max(self._last, timestamp)
            if self.rows == self.size:
                self._end(close)
            start = stop

    def _end(self, close: Callable[[], None]) -> None:
        close()
        self.rows = 0
        self._number += 1
        self._first, self._last = math.inf, -math.inf
        self._latest_labelled, self._labelled = self._labelled, None

    # -- labelled rows ------------------------------------------------------------------

    def labelled(self, positions: np.ndarray | Sequence[int]) -> None:
        """Take note that labelled rows were counted in the current window.

        Args:
            positions: see `Rows.positions`.
        """
        if len(positions) and self._labelled is None:
            self._labelled = int(positions[0])

    def in_current(self, positions: np.ndarray) -> np.ndarray:
        """Return which labelled rows were counted in the current window, bool [n]."""
        if self._labelled is None:
            return np.zeros(len(positions), np.bool_)
        current: np.ndarray = positions >= self._labelled
        return current

    def in_latest(self, positions: np.ndarray) -> np.ndarray:
        """Return which labelled rows were counted in the latest full window, bool [n]."""
        if self._latest_labelled is None:
            return np.zeros(len(positions), np.bool_)
        latest: np.ndarray = (positions >= self._latest_labelled) & ~self.in_current(positions)
        return latest

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the position in the current window as JSON values."""
        span = list(self.span) if self.rows else None
        labelled = [self._labelled, self._latest_labelled]
        return {"rows": self.rows, "span": span, "number": self._number, "labelled": labelled}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        rows, (first, last) = state["rows"], state["span"] or (math.inf, -math.inf)
        self.rows, self._first, self._last = rows, first, last
        # Which were not saved at first.
        self._number = state.get("number", 0)
        self._labelled, self._latest_labelled = state.get("labelled", (None, None))
