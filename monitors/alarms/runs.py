"""Runs of windows that are far off on the same side: outliers come alone, a shift stays."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtri

from monitors.alarms.standardized import Array, Mask

FAR: Final = 4.0
"""Standard deviations beyond which a window is far off."""

_MEMORY_DAYS: Final = 28.0
_PRIOR: Final = 20.0
"""Windows far off that the first guess counts for: one in fifty is followed by another."""

_PRIOR_AGAIN: Final = 0.4
_PRIOR_SHARE: Final = (0.5, 100.0)
"""Before there are many windows, one in two hundred is far off."""


class Runs:
    """How long each of k streams has been far off, and how improbable that is. Not thread-safe.

    Where tails are heavy one window proves little, however far it is off. Several on end do: how
    often one such window follows another is counted. Days count as history when the day after them
    has ended.
    """

    def __init__(self, streams: int) -> None:
        self.length: Array = np.zeros(streams)
        self.side: Array = np.zeros(streams)
        self.since: Array = np.full(streams, np.nan)
        # Of history, yesterday, today: windows, those far off, those that followed another.
        self.sums: Array = np.zeros((3, 3, streams))
        self._share: Array = np.zeros(streams)
        self._again: Array = np.zeros(streams)
        self.refresh()

    def score(self, z: Array, first: float, learnt: Mask) -> Array:
        """Take in a window's standardised errors [k]; returns normal scores of the runs.

        Args:
            z: standardised errors.
            first: when the window began.
            learnt: streams whose windows are counted.
        """
        far, side = np.abs(z) > FAR, np.sign(z)
        follows = far & (self.length > 0) & (side == self.side)
        self.length = np.where(far, np.where(follows, self.length + 1, 1.0), 0.0)
        self.since = np.where(follows, self.since, first)
        self.side = side
        self.sums[2, 0] += learnt
        if not far.any():
            return np.zeros_like(z)
        self.sums[2, 1] += learnt & far
        self.sums[2, 2] += learnt & follows
        p = self._share * self._again ** np.maximum(self.length - 1, 0)
        score: Array = np.where(self.length > 1, -ndtri(np.maximum(p, 1e-300) / 2), 0.0)
        return score

    def drop(self, streams: Mask, yesterday: bool) -> None:
        """Forget what was counted of some streams and is not history yet."""
        self.sums[1 if yesterday else 2 :, :, streams] = 0

    def turn(self) -> None:
        """End a day: yesterday becomes history."""
        self.sums[0] = self.sums[0] * (1 - 1 / _MEMORY_DAYS) + self.sums[1]
        self.sums[1] = self.sums[2]
        self.sums[2] = 0
        self.refresh()

    def refresh(self) -> None:
        """Make probabilities from the sums."""
        windows, far, again = self.sums[0]
        self._share = (far + _PRIOR_SHARE[0]) / (windows + _PRIOR_SHARE[1])
        self._again = np.minimum((again + _PRIOR_AGAIN) / (far + _PRIOR), 0.9)

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        return {
            "length": self.length,
            "side": self.side,
            "since": self.since,
            "sums": self.sums,
            "share": self._share,
            "again": self._again,
        }
