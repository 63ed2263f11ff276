"""Rare events, such as missing values, that come in bursts: how often is one told as a change?

A share of a thousandth; in 1 % of windows of 1,000 rows it is twenty or fifty times that, for a
window or for six.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.alarms.budget import SEVERITIES
from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments

STREAMS: Final = 300
DAYS: Final = 8
ROWS: Final = 1000
REFERENCE_ROWS: Final = 5000
WINDOWS: Final = 144
PART: Final = 0.01
"""Share of windows in bursts."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """Bursts of a rare event.

    Attributes:
        usual: share of rows that have it.
        burst: in a burst.
        windows: how long a burst lasts.
    """

    usual: float
    burst: float
    windows: int = 1

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.usual:.2%}, in bursts of {self.windows} windows {self.burst:.1%}"


KINDS: Final = (
    Bursts(0.001, 0.001),
    Bursts(0.0002, 0.01),
    Bursts(0.001, 0.02),
    Bursts(0.001, 0.05),
    Bursts(0.01, 0.05),
    Bursts(0.001, 0.02, 6),
)


def told(kind: Bursts, seed: int) -> dict[str, Any]:
    """Return how many alarms began on each day, and the stated number of all days."""
    rng = np.random.default_rng(seed)
    rate = SEVERITIES["info"]
    share = (rng.binomial(REFERENCE_ROWS, kind.usual, STREAMS) + 0.5) / (REFERENCE_ROWS + 1)
    rows = np.full(STREAMS, float(REFERENCE_ROWS))
    law = StreamLaw(
        STREAMS, ReferenceMoments(mean=share, variance=share * (1 - share), n=rows), rate
    )
    began = np.zeros(DAYS, int)
    before = np.zeros(STREAMS, bool)
    left = np.zeros(STREAMS, int)
    for at in range(DAYS * WINDOWS):
        starts = (rng.random(STREAMS) < PART / kind.windows) & (left == 0)
        left = np.where(starts, kind.windows, np.maximum(left - 1, 0))
        seen = rng.binomial(ROWS, np.where(left > 0, kind.burst, kind.usual)).astype(float)
        counts = np.full(STREAMS, float(ROWS))
        cell = Cell(
            first=600.0 * at, last=600.0 * at + 599, n=ROWS, counts=counts, sums=seen, squares=seen
        )
        alarm = law.observe(cell, 600.0 * at).alarm
        began[at // WINDOWS] += int((alarm & ~before).sum())
        before = alarm
    return {"bursts": kind.name, "by_day": began.tolist(), "stated": rate * DAYS / 90}
