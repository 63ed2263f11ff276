"""How small a difference lookbacks over windows can show, and how many rows one needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from monitors.watched import HORIZONS, Gap
from monitors.windows.ageing import OLDEST
from monitors.windows.spending import levels

_POWER: Final = float(ndtri(0.9))
_ROUNDS: Final = 30
"""Of a fixed point; each halves the error at least, about."""


def normal_bound(alpha: float) -> tuple[float, float]:
    """Return how many standard errors a normal bound reaches, and nothing more."""
    return -float(ndtri(alpha)), 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a figure over lookbacks can show, whose error falls with the root of its rows.

    Attributes:
        sd: takes a gap beyond the threshold; returns the standard error of the figure at that gap
            times the root of the rows, if rows are independent.
        factor: takes windows; returns how many times as much the figure varies.
        budget: false alarms that are expected per quarter.
        shares: bounds that share what a look may be wrong with.
        bound: takes what a bound may be wrong with; returns how many standard errors it reaches,
            and how much farther, times the rows.
        window: rows per window.
        rate: rows per second; 0: none come.
        least: rows that a verdict needs.
    """

    sd: Callable[[float], float]
    factor: Callable[[float], float]
    budget: float
    window: int
    rate: float
    shares: int = 1
    bound: Callable[[float], tuple[float, float]] = normal_bound
    least: float = 1.0

    def level(self, rows: float) -> float:
        """Return what a look at so many rows may be wrong with, for one bound."""
        seconds = rows / self.rate if self.rate > 0 else 0.0
        return float(levels(np.array([seconds]), self.budget)[0]) / self.shares

    def _gap(self, rows: float) -> float:
        score, slack = self.bound(self.level(rows))
        independent = rows / self.factor(rows / self.window)
        gap = 0.0
        for _ in range(_ROUNDS):
            gap = (_POWER + score) * self.sd(gap) / math.sqrt(independent) + slack / independent
        return gap

    def sees(self) -> dict[float, float]:
        """Return the smallest gaps that are found with 90 % power, by seconds; see `Item.sees`."""
        found: dict[float, float] = {}
        for horizon in HORIZONS:
            # A loss begins somewhere in a window, and the last window has to end.
            whole = min(math.floor(self.rate * horizon / self.window - 0.5), OLDEST)
            rows = float(whole * self.window)
            if whole >= 1 and rows >= self.least and math.isfinite(gap := self._gap(rows)):
                found[horizon] = gap
        return found

    def needs(self, gap: float) -> Gap | None:
        """Return how many rows it takes to show a gap; None: more than are remembered."""
        rows = float(max(self.window, self.least))
        for _ in range(_ROUNDS):
            score, slack = self.bound(self.level(rows))
            reach = (_POWER + score) * self.sd(gap)
            # Of the rows for which reach / sqrt(rows) + slack / rows = gap.
            root = (reach + math.sqrt(reach**2 + 4 * gap * slack)) / (2 * gap)
            wanted = self.factor(rows / self.window) * root**2
            rows = max(wanted, self.least, float(self.window))
            if not rows <= OLDEST * self.window:
                return None
        rows = math.ceil(rows / self.window) * self.window
        return Gap(gap, rows, rows / self.rate if self.rate > 0 else None)
