"""What a law can see: the smallest shift that it would find, per stream and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from monitors.alarms.standardized import Array

HORIZONS: Final = (3600.0, 86400.0, 7 * 86400.0)
"""An hour, a day, a week, in seconds."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Smallest lasting shifts found within some times, at the present traffic and level.

    Attributes:
        horizons: the times, in seconds.
        power: with which probability such a shift is found.
        sd: [horizons, k] in standard deviations of a row; infinite when no scale can.
        unit: [horizons, k] in the statistic's own unit.
    """

    horizons: tuple[float, ...]
    power: float
    sd: Array
    unit: Array


def smallest_shift(
    *,
    variance: Array,
    threshold: Array,
    duration: Array,
    unit: Array,
    power: float = 0.9,
    horizons: tuple[float, ...] = HORIZONS,
) -> Sensitivity:
    """Return the smallest shift that any one scale finds by itself within each time.

    A scale finds a shift for sure only once all its windows have it, so one that is longer than
    the horizon counts with the share that would have it.

    Args:
        variance: [scales, k] of a scale's error, in squared standard deviations of a row.
        threshold: [scales, k] standardised error that it takes to alarm.
        duration: [scales] seconds that each scale covers.
        unit: [k] standard deviation of a row.
        power: probability of finding it.
        horizons: in seconds.

    Raises:
        ValueError: the power is not in (0, 1).
    """
    if not 0 < power < 1:
        raise ValueError("power must be between 0 and 1")
    needed = (threshold + ndtri(power)) * np.sqrt(variance)
    found = []
    for horizon in horizons:
        share = np.minimum(horizon / duration, 1.0)[:, None]
        found.append((needed / share).min(0))
    sd = np.array(found)
    return Sensitivity(horizons, power, sd, sd * unit)
