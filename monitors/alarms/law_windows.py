"""Windows of a stream of rows, each shown to a law of alarms when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from monitors.alarms.cell import Cell
from monitors.alarms.decisions import Decisions
from monitors.alarms.law import StreamLaw
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

LEAST_ROWS: Final = 50
"""Rows that a window needs which ends with its time."""
_PACE: Final = 24
"""Windows that the pace is an average of, about."""


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
        self._law, self._rate = law, settings.rate
        least = min(LEAST_ROWS, settings.window)
        self.current = TumblingWindow(settings.window, settings.window_s, least)
        self._latest = -math.inf
        self._passes = 0
        self._pace = 0.0

    @property
    def interval(self) -> float | None:
        """Seconds from one window to the next, lately; None before the second one."""
        return self._pace if self._passes and self._pace > 0 else None

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
        if math.isfinite(self._latest):
            self._passes = min(self._passes + 1, _PACE)
            passed = max(last - self._latest, 0.0)
            self._pace += (passed - self._pace) / self._passes
        self._latest = last = max(last, self._latest)
        return self._law.observe(cell((min(first, last), last), self.current.rows), last)

    def items(self, named: Sequence[Item]) -> tuple[Item, ...]:
        """Return the law's streams with what it says of them; what it sees once that is known.

        Args:
            named: an item for each stream, in their order; a stream without a unit gets one.
        """
        law = self._law
        known = self.interval is not None
        seen = law.sensitivity(interval=self.interval) if known else None
        factors, shares = law.variation.tolist(), law.shares.tolist()
        found = []
        for at, each in enumerate(named):
            unit = each.unit or ("share" if shares[at] else "sd")
            sees: dict[float, float] = {}
            if seen is not None:
                sizes = seen.sd if unit == "sd" else seen.unit
                sees = {
                    horizon: float(size)
                    for horizon, size in zip(seen.horizons, sizes[:, at], strict=True)
                    if np.isfinite(size)
                }
            found.append(
                replace(
                    each,
                    unit=unit,
                    level=law.level,
                    false_alarms=self._rate / law.streams,
                    factor=factors[at] if known else None,
                    basis=law.basis[at],
                    sees=sees,
                )
            )
        return tuple(found)

    def watched(self, items: tuple[Item, ...], reference: str) -> Watched:
        """Return what is watched in these windows.

        Args:
            items: see `items`; others may be among them.
            reference: what windows are compared with, in words.
        """
        return Watched(
            items=items,
            reference=reference,
            window=self.current.size,
            window_s=self.current.seconds if math.isfinite(self.current.seconds) else None,
            interval_s=self.interval,
            false_alarms=self._rate,
            streams=self._law.streams,
        )

    def state(self) -> dict[str, Any]:
        """Return position and law as JSON values; the size is constant."""
        return {
            "window": {**self.current.state(), "pace": [self._passes, self._pace]},
            "latest": None if math.isinf(self._latest) else self._latest,
            "law": self._law.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; it may hold more.

        Raises:
            ValueError, KeyError, TypeError: it is of another law; then nothing was taken.
        """
        latest, window = state["latest"], state["window"]
        passes, pace = window.get("pace", (0, 0.0))  # which was not saved at first
        self._law.restore(state["law"])
        self.current.restore(window)
        self._latest = -math.inf if latest is None else float(latest)
        self._passes, self._pace = int(passes), float(pace)
