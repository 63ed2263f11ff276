"""Changes that no natural cycle would explain, told before much is known of a stream."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.standardized import Array, Mask, standardized
from monitors.alarms.units import Units

_GROSS: Final = 0.75
_GROSS_BY_ROWS: Final = 6.0
"""A change of n rows is gross beyond `_GROSS + _GROSS_BY_ROWS / sqrt(n)` standard deviations of a
row: a daily cycle of half of one stays below it, also where each row comes five times."""

_REPEATS: Final = 3.0
"""How many times as much gross changes of shares are allowed to vary as independent rows do."""

_LONGEST: Final = 12.0
"""Windows of the longest burst: what lasts longer is told, whatever ended before."""


class Gross:
    """Which of k streams differ grossly, for longer than bursts do. Not thread-safe.

    A gross change that ends by itself was a burst. From then on a change has to last longer than
    bursts of its stream did, and those of other streams, too: all are of the same traffic, and
    nobody should be told of each one's first. Of a statistic that never was anything but the same,
    only its own bursts count.

    Args:
        units: of the statistics.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        streams = len(units.sd)
        self._length: Array = np.zeros(streams)
        self._bursts: Array = np.zeros(streams)
        self.since: Array = np.full(streams, np.nan)

    def lasting(self, far: Mask, seen: Mask, first: float) -> Mask:
        """Take in a window; returns the streams [k] whose change has lasted longer than bursts.

        Args:
            far: those that differ grossly in it.
            seen: those that it has rows of; the others are as they were.
            first: when it began. `since` has when each change began.
        """
        ended = seen & ~far & (self._length > 0)
        if ended.any():
            lasted = np.minimum(self._length, _LONGEST)
            np.maximum(self._bursts, lasted, out=self._bursts, where=ended)
        self.since = np.where(far & (self._length == 0), first, self.since)
        self._length = np.where(seen, np.where(far, self._length + 1, 0.0), self._length)
        if not far.any():
            return far
        usual = np.where(self._units.constant, self._bursts, self._bursts.max())
        lasting: Mask = far & (self._length > usual)
        return lasting

    @property
    def taught(self) -> bool:
        """Whether there was a burst."""
        return bool(self._bursts.any())

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        return {"length": self._length, "bursts": self._bursts, "since": self.since}


def gross(raw: Array, counts: Array, accepted: Array, units: Units, critical: float) -> Mask:
    """Return which of k streams differ grossly from the reference.

    A rare event in a few rows is many standard deviations off, and says little. So shares have to
    be improbable after the transformation of `standardized` as well.

    Args:
        raw: [k] differences to the reference less `accepted`, in standard deviations of a row.
        counts: [k] rows.
        accepted: [k] shifts that are taken as normal.
        units: of the statistics.
        critical: normal score of an alarm.
    """
    n = np.maximum(counts, 1)
    far: Mask = np.abs(raw) > _GROSS + _GROSS_BY_ROWS / np.sqrt(n)
    if not far.any():
        return far
    value = units.mean + units.sd * (raw + accepted)
    z = standardized(value, units.centre, units.sd * np.sqrt(_REPEATS / n), units.shares)
    return far & (~units.shares | (np.abs(z) > critical))
