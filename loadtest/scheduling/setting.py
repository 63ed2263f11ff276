"""What both experiments share: cost curves, loads, and the latency goal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

GOAL_S = 0.1
"""Every request must be answered so long after its arrival; later is worth nothing."""
LOADS = (0.5, 0.8, 0.95)
"""Offered load as a share of a curve's capacity."""
POLICIES = ("eager", "eager, giving up", "deferred")


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of a batch: `fixed` + `per_row` for each row."""

    name: str
    fixed: float
    per_row: float

    def seconds(self, rows: int) -> float:
        return self.fixed + self.per_row * rows

    def most_rows(self, seconds: float) -> int:
        """Return the most rows that fit into `seconds`, at least 1."""
        return max(1, int((seconds - self.fixed) / self.per_row + 1e-9))

    @property
    def capacity(self) -> float:
        """Rows per second in batches that take half of the goal: one waits, one computes."""
        rows = self.most_rows(GOAL_S / 2)
        return rows / self.seconds(rows)


CURVES = (
    Curve("fixed cost dominates", 0.040, 0.0005),
    Curve("in between", 0.015, 0.0010),
    Curve("linear", 0.005, 0.0020),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table."""

    curve: Curve
    load: float
    policy: str


def cases() -> Iterator[Case]:
    for curve in CURVES:
        for load in LOADS:
            for policy in POLICIES:
                yield Case(curve, load, policy)


def arrivals(case: Case, seconds: float, seed: int) -> np.ndarray:
    """Return Poisson arrival times in `seconds`; the same for both policies."""
    random = np.random.default_rng([seed, CURVES.index(case.curve), LOADS.index(case.load)])
    rate = case.load * case.curve.capacity
    times = np.cumsum(random.exponential(1 / rate, int(rate * seconds * 2) + 50))
    return times[times < seconds]
