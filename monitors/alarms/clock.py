"""When windows of a stream end, how far they are apart, and which day it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from monitors.alarms.cell import Cell
from monitors.alarms.scales import DAY

_MOST_TURNS: Final = 3
"""Days after which nothing of what was counted before has to wait any more."""


class Clock:
    """Follows the times of windows. Not thread-safe.

    Attributes:
        interval: seconds from a window to the next, about.
        day: number of the latest day; negative before the first window.
        last: when the latest window ended; minus infinity before.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.day = -1
        self.last = -np.inf

    def follow(self, cell: Cell) -> int:
        """Take in a window; returns how many days end before it, few if it were many."""
        if np.isfinite(self.last):
            passed = cell.last - self.last
            if passed > 0:
                self.interval += 0.01 * (min(passed, 10 * self.interval) - self.interval)
        self.last = max(self.last, cell.last)
        day = int(cell.middle // DAY)
        if self.day < 0:
            self.day = day
        turns = min(day - self.day, _MOST_TURNS)
        self.day = max(day, self.day)
        return max(turns, 0)

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        last = self.last if np.isfinite(self.last) else None
        return {"day": self.day, "last": last, "interval": self.interval}

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Clock:
        """Return the clock that `state` was taken of.

        Raises:
            ValueError, KeyError, TypeError: it is no such state.
        """
        clock = cls(float(state["interval"]))
        clock.day = int(state["day"])
        clock.last = -np.inf if state["last"] is None else float(state["last"])
        return clock
