"""Changes that no natural cycle would explain, told while a stream has no history."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.sensitivity import share_growth
from monitors.alarms.standardized import Array, Mask, standardized
from monitors.alarms.units import Units

_GROSS: Final = 0.75
_GROSS_BY_ROWS: Final = 6.0
"""A change of n rows is gross beyond `_GROSS + _GROSS_BY_ROWS / sqrt(n)` standard deviations of a
row: a daily cycle of half of one stays below it, also where each row comes five times."""

_REPEATS: Final = 3.0
"""How many times as much gross changes of shares are allowed to vary as independent rows do."""


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
