"""Hours of the day at which a stream jumps more than at others, as where a new day begins."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.standardized import Array, Mask

_HOURS: Final = 24
_MEMORY_DAYS: Final = 14.0
_LARGEST: Final = 100.0
"""Bound of a squared error: one shift must not blind its hour of the day for long."""


class Volatility:
    """Variance of standardised errors by hour of day, on each of some scales. Not thread-safe.

    Args:
        scales: how many of the shortest scales it is kept for.
        streams: k.
    """

    def __init__(self, scales: int, streams: int) -> None:
        shape = (scales, _HOURS, streams)
        self.today: Array = np.full(shape, -1.0)
        self.days: Array = np.zeros(shape)
        self.sums: Array = np.zeros(shape)
        self.times: Array = np.ones(shape)

    def add(self, scale: int, hour: int, z: Array, streams: Mask) -> None:
        """Take in standardised errors [k] of some streams; the hour's largest is what counts."""
        if scale < len(self.today):
            squared = np.where(streams, np.minimum(z * z, _LARGEST), -1.0)
            np.maximum(self.today[scale, hour], squared, out=self.today[scale, hour])

    def turn(self) -> None:
        """End a day: what it showed counts from now on."""
        seen = self.today >= 0
        keep = np.where(seen & (self.days >= _MEMORY_DAYS), 1 - 1 / _MEMORY_DAYS, 1.0)
        self.days = self.days * keep + seen
        self.sums = self.sums * keep + np.where(seen, self.today, 0.0)
        self.today[:] = -1.0
        self.refresh()

    def refresh(self) -> None:
        """Make `times` from the sums: how many times an hour's variance is that of the others."""
        known = self.days > 1.5
        if not known.any():
            return
        days = np.maximum(self.days, 1.0)
        mean = np.where(known, self.sums / days, np.nan)
        usual = np.zeros((len(mean), 1, mean.shape[2]))
        some = known.any(1)
        usual[:, 0][some] = np.nanmedian(np.moveaxis(mean, 1, 2)[some], axis=1)
        above = np.nan_to_num(mean) - usual * (1 + 2 / np.sqrt(days))
        self.times = np.where(known, 1 + np.maximum(above, 0.0), 1.0)

    def at(self, scale: int, hour: int) -> Array | None:
        """Return how many times the variance is as large as usual [k]; None: not at all."""
        if scale >= len(self.times):
            return None
        times: Array = self.times[scale, hour]
        return times if times.max() > 1 else None

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        return {"today": self.today, "days": self.days, "sums": self.sums}
