"""What single windows show by themselves, and which of that bursts explain."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.sensitivity import share_growth
from monitors.alarms.standardized import Array, Mask, standardized
from monitors.alarms.standing import Standing
from monitors.alarms.units import Units

_GROSS: Final = 0.75
_GROSS_BY_ROWS: Final = 6.0
"""A change of n rows is gross beyond `_GROSS + _GROSS_BY_ROWS / sqrt(n)` standard deviations of a
row: a daily cycle of half of one stays below it, also where each row comes five times."""

_REPEATS: Final = 3.0
"""How many times as much gross changes of shares are allowed to vary as independent rows do."""

_LONGEST: Final = 12.0
"""Windows of the longest burst: what lasts longer is told, whatever ended before."""

_GROWN: Final = 14.0
"""Days of history from which on a stream's bursts, and how they follow each other, are known."""


class Sudden:
    """What single windows of k streams show by themselves. Not thread-safe.

    Told are windows that are improbable, and those that differ grossly from the reference, which
    needs no history. A change that ends by itself within hours was a burst. From then on a change
    has to last longer than bursts of its stream did, and those of other streams, too: all are of
    the same traffic, and nobody should be told of each one's first. Of a statistic that never was
    anything but the same, only its own bursts count. Once a stream has been known for long, how
    often windows like this one come is known better than that.

    Args:
        units: of the statistics.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        streams = len(units.sd)
        self._length: Array = np.zeros(streams)
        self._bursts: Array = np.zeros(streams)
        self.since: Array = np.full(streams, np.nan)
        self._gross: Mask = np.zeros(streams, bool)
        self._longer: Mask = np.zeros(streams, bool)

    def look(
        self, raw: Array, residual: Array, counts: Array, accepted: Array, critical: float
    ) -> None:
        """Take in a window; `windows`, with what is improbable, is to follow.

        Args:
            raw: [k] differences to the reference, in standard deviations of a row.
            residual: [k] differences to what was expected at this time.
            counts: [k] rows.
            accepted: [k] shifts that are taken as normal.
            critical: normal score of an alarm.
        """
        nearer = np.where(np.abs(residual) < np.abs(raw), residual, raw)
        self._gross = gross(nearer, counts, accepted, self._units, critical)

    def windows(
        self,
        improbable: Mask,
        residual: Array,
        seen: Mask,
        standing: Standing,
        days: Array,
        first: float,
    ) -> Mask:
        """Return which improbable windows [k] are worth telling: none that bursts explain.

        Args:
            improbable: [k] windows that no variation explains that is known.
            residual: [k] differences to what was expected at this time.
            seen: [k] streams with rows.
            standing: the alarms.
            days: [k] of history.
            first: when the window began.
        """
        there = np.abs(residual - standing.expected) > np.abs(standing.told) / 2
        far = np.where(standing.alarm, there, improbable | self._gross) & seen
        lasting = self._lasting(far, seen, first)
        self._gross &= lasting
        self._longer = lasting | (days > _GROWN)
        return improbable & self._longer

    def pairs(self, improbable: Mask) -> Mask:
        """Return which improbable means of two windows [k] are worth telling."""
        return improbable & self._longer if self._bursts.any() else improbable

    def gross(self, alarm: Mask) -> Mask:
        """Return which streams [k] without an alarm have differed grossly for long enough."""
        return self._gross & ~alarm

    def _lasting(self, far: Mask, seen: Mask, first: float) -> Mask:
        """Return the streams [k] whose change has lasted longer than bursts.

        Args:
            far: those that are far off in this window.
            seen: those that it has rows of; the others are as they were.
            first: when it began.
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


def gross_shift(counts: Array, units: Units, critical: float, spread: float) -> Array:
    """Return how far a mean must be off, in standard deviations of a row, to be gross for sure.

    Args:
        counts: [k] rows of a window.
        units: of the statistics.
        critical: normal score of an alarm.
        spread: standard errors that are added, so that it is so with some probability.
    """
    n = np.maximum(counts, 1)
    far: Array = _GROSS + (_GROSS_BY_ROWS + spread) / np.sqrt(n)
    at = units.shares
    error = units.sd[at] * np.sqrt(_REPEATS / n[at])
    grown = share_growth(units.centre[at], error, critical + spread / np.sqrt(_REPEATS))
    far[at] = np.maximum(far[at], grown / units.sd[at])
    return far
