"""Where the level of a stream is: near the reference's, as far as that leaves it open."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.standardized import Array, Mask

_BOUND: Final = 2.5
"""Standard errors of the reference's mean within which the level is learnt from the stream."""

_WINDOWS: Final = 144.0
"""Windows of a day, about."""


class Level:
    """Levels of k streams, in standard deviations of a row. Not thread-safe.

    Attributes:
        offset: [k] from the reference's mean.
        open: [k] variance of the level for all that is known.

    Args:
        sampling: [k] variance of the reference's mean, if its rows are independent.
    """

    def __init__(self, sampling: Array) -> None:
        self._sampling = sampling
        self.offset: Array = np.zeros(len(sampling))
        self.open: Array = sampling.copy()

    def learn(
        self, ready: Mask, seen: Array, *, between: Array, factor: Array, rows: Array, days: Array
    ) -> None:
        """Learn from days that have ended.

        Args:
            ready: [k] streams whose days count as history; of the others the level stays.
            seen: [k] mean over the days.
            between: [k] variance from day to day.
            factor: [k] how many times as much windows vary as independent rows do.
            rows: [k] of a window.
            days: [k] how many days are known.
        """
        reference = self._sampling * factor + between
        own = between / np.maximum(days, 1) + 1e-12
        own = own + factor / np.maximum(rows * _WINDOWS * days, 1)
        self.open = reference * own / (reference + own)
        learnt = seen * reference / (reference + own)
        bound = _BOUND * np.sqrt(reference)
        self.offset = np.where(ready, np.clip(learnt, -bound, bound), self.offset)

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        return {"offset": self.offset, "open": self.open}
