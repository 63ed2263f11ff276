"""Windows of a stream of rows, each shown to a law of alarms when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitors.alarms.cell import Cell
from monitors.alarms.decisions import Decisions
from monitors.alarms.law import StreamLaw
from monitors.windows.tumbling_window import TumblingWindow

LEAST_ROWS: Final = 50
"""Rows that a window needs which ends with its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How windows are cut and judged.

    Attributes:
        window: rows per window.
        window_s: seconds after which a window ends with fewer rows, but at least `LEAST_ROWS`.
        rate: expected false alarms per 90 days, over all statistics and windows.
    """

    window: int = 1000
    window_s: float = math.inf
    rate: float = 12.0


class LawWindows:
    """Cuts windows, and has a law decide about each. Not thread-safe.

    Args:
        law: decides.
        settings: how windows are cut.
    """

    def __init__(self, law: StreamLaw, settings: WindowSettings) -> None:
        self._law = law
        least = min(LEAST_ROWS, settings.window)
        self.current = TumblingWindow(settings.window, settings.window_s, least)
        self._latest = -math.inf

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self.current.rows, self.current.size

    def decide(self, cell: Callable[[tuple[float, float], int], Cell]) -> Decisions:
        """Return what the law says of the current window, which ends.

        Args:
            cell: makes the window's sums of its first and last time and the number of its rows.
        """
        first, last = self.current.span
        # Events may be out of order; the law is shown windows in the order in which they ended.
        self._latest = last = max(last, self._latest)
        return self._law.observe(cell((min(first, last), last), self.current.rows), last)

    def state(self) -> dict[str, Any]:
        """Return position and law as JSON values; the size is constant."""
        return {
            "window": self.current.state(),
            "latest": None if math.isinf(self._latest) else self._latest,
            "law": self._law.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; it may hold more.

        Raises:
            ValueError, KeyError, TypeError: it is of another law; then nothing was taken.
        """
        latest, window = state["latest"], state["window"]
        self._law.restore(state["law"])
        self.current.restore(window)
        self._latest = -math.inf if latest is None else float(latest)
