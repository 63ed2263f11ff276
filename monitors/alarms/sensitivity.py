"""What a law can see: the smallest shift that it would find, per stream and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from monitors.alarms.standardized import Array, Mask
from monitors.watched import HORIZONS

_BETWEEN: Final = 0.3
"""Share of what is followed that is lost where a shift begins within a window: a quarter on
average, and a half at worst."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Smallest lasting shifts found within some times, at the present traffic and level.

    Attributes:
        horizons: the times, in seconds.
        power: with which probability such a shift is found, at least.
        sd: [horizons, k] in standard deviations of a row; infinite when no scale can.
        unit: [horizons, k] in the statistic's own unit.
    """

    horizons: tuple[float, ...]
    power: float
    sd: Array
    unit: Array


@dataclass(frozen=True, slots=True)
class Shares:
    """Which streams are shares of rows, and how large they are.

    Attributes:
        which: [k] statistics that are 0 or 1.
        expected: [k] share of rows; of the others anything.
    """

    which: Mask
    expected: Array


def smallest_shift(
    *,
    variance: Array,
    threshold: Array,
    duration: Array,
    unit: Array,
    shares: Shares | None = None,
    reach: Array | None = None,
    followed: Array | float = 0.0,
    gross: Array | None = None,
    power: float = 0.9,
    horizons: tuple[float, ...] = HORIZONS,
) -> Sensitivity:
    """Return the smallest shift that any one scale finds by itself within each time.

    A scale finds a shift for sure only once all its windows have it, so one that is longer than
    the horizon counts with the share that would have it. A shift begins anywhere in a window, so
    half a window of each horizon says nothing; within less than two windows nothing is found. What
    forecasts follow is seen when it begins, and less of it where two windows share that.

    A share is compared as `standardized` does it, so a rare one must grow by more than its standard
    error says. What is stated of a share is the change away from its nearer end, 0 or 1.

    Args:
        variance: [scales, k] of a scale's error, in squared standard deviations of a row.
        threshold: [scales, k] standardised error that it takes to alarm.
        duration: [scales] seconds that each scale covers, the shortest first.
        unit: [k] standard deviation of a row.
        shares: which streams are shares; None: none is.
        reach: [k] standard deviations of a row beyond which a window counts no more on any scale
            but the shortest; None: all of it counts.
        followed: [scales, k] how much of a shift the forecast has taken over a window later, from
            0 to 1; see `ShiftEstimates.followed`.
        gross: [k] what one window finds besides, whatever it takes by scales; infinite: nothing.
        power: probability of finding it.
        horizons: in seconds.

    Raises:
        ValueError: the power is not in (0, 1).
    """
    if not 0 < power < 1:
        raise ValueError("power must be between 0 and 1")
    score = threshold + ndtri(power)
    needed = score * np.sqrt(variance) / (1 - _BETWEEN * np.asarray(followed))
    if shares is not None and shares.which.any():
        at = shares.which
        grown = share_growth(shares.expected[at], np.sqrt(variance[:, at]) * unit[at], score[:, at])
        needed[:, at] = np.maximum(needed[:, at], grown / unit[at])
    window = float(duration.min())
    found = []
    for horizon in horizons:
        seen = (horizon - window / 2) / duration if horizon >= 2 * window else 0 * duration
        with np.errstate(divide="ignore"):
            shift = needed / np.minimum(seen, 1.0)[:, None]
        if reach is not None:
            shift[1:] = np.where(shift[1:] > reach, np.inf, shift[1:])
        least = shift.min(0)
        found.append(least if gross is None or not seen.any() else np.minimum(least, gross))
    sd = np.array(found)
    if shares is not None:
        # No share can change by more than all there is.
        room = np.where(shares.which, np.maximum(shares.expected, 1 - shares.expected), np.inf)
        sd = np.where(sd * unit > room, np.inf, sd)
    return Sensitivity(horizons, power, sd, sd * unit)


def share_growth(expected: Array, sd: Array, score: Array | float) -> Array:
    """Return by how much shares must grow to be `score` off after Anscombe's transformation.

    Args:
        expected: [k] shares.
        sd: of the difference, [k] or [scales, k].
        score: of the same shape, or one for all.
    """
    p = np.clip(np.minimum(expected, 1 - expected), 1e-9, 0.5)
    n = np.maximum(p * (1 - p) / sd**2, 1e-3)
    awaited = np.arcsin(np.sqrt((p * n + 0.375) / (n + 0.75)))
    seen = np.sin(np.minimum(awaited + score / (2 * np.sqrt(n + 0.5)), np.pi / 2)) ** 2
    growth: Array = (seen * (n + 0.75) - 0.375) / n - p
    return growth
