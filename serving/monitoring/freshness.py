"""Whether what a monitor found last still says something: not after long without rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Freshness:
    """When each monitor of a version had rows last.

    A finding that went stale stays so until the next window is complete: the first row after a
    long pause says nothing about it.

    Args:
        stale_after_s: seconds without rows after which a finding is stale.
    """

    def __init__(self, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._fed: dict[str, float] = {}
        self._by_clock: dict[str, float] = {}
        self._stale: set[str] = set()

    def fed(self, monitor: str, now: float) -> None:
        """Take note that a monitor had rows."""
        self.refresh(now)
        self._fed[monitor] = now

    @property
    def begun(self) -> bool:
        """Whether any monitor ever had rows."""
        return bool(self._fed)

    def judged(self, monitor: str) -> None:
        """Take note that a monitor has completed a window."""
        self._stale.discard(monitor)

    def judged_by_clock(self, monitor: str, now: float) -> None:
        """Take note that a monitor has judged without rows, which may be what it judges."""
        self._by_clock[monitor] = now
        self._stale.discard(monitor)

    def refresh(self, now: float) -> set[str]:
        """Return the monitors whose last findings say nothing any more."""
        last = {**self._fed, **self._by_clock} if self._by_clock else self._fed
        for name, at in last.items():
            if now - max(at, self._fed.get(name, at)) > self._stale_after_s:
                self._stale.add(name)
        return self._stale

    def idle_s(self, monitor: str, now: float) -> float:
        """Seconds since the monitor had rows."""
        return now - self._fed.get(monitor, now)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable values."""
        return {
            "fed": dict(self._fed),
            "stale": sorted(self._stale),
            "by_clock": dict(self._by_clock),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._fed, self._stale = dict(state["fed"]), set(state["stale"])
        self._by_clock = dict(state.get("by_clock", {}))  # which was not saved at first
