"""Alarms that stand: what each stream is held against until it is back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitors.alarms.standardized import Array, Mask

_BACK: Final = 6
"""Windows for which a stream must be back before its alarm ends."""


class Standing:
    """Which of k streams are in alarm, since when, and how far they are off. Not thread-safe.

    An alarm ends when the stream's recent mean was closer to what had been expected before the
    alarm than to what it was when it was told, for some windows on end.

    Attributes:
        alarm: [k] bool.
        since: [k] seconds; NaN without alarm.
        scale: [k] index of the scale that told it.
        score: [k] normal score of the strongest evidence so far.
        expected: [k] residual that was expected before the alarm.
        recent: [k] mean residual over the latest windows.
        told: [k] effect that the alarm was told with.
        calm: [k] mean residual over the windows since the stream seems to be back.
    """

    def __init__(self, streams: int) -> None:
        self.alarm: Mask = np.zeros(streams, bool)
        self.since: Array = np.full(streams, np.nan)
        self.scale = np.zeros(streams, np.int64)
        self.score: Array = np.zeros(streams)
        self.expected: Array = np.zeros(streams)
        self.recent: Array = np.zeros(streams)
        self.told: Array = np.zeros(streams)
        self.calm: Array = np.zeros(streams)
        self._span: Array = np.ones(streams)
        self._back: Array = np.zeros(streams)

    def begin(
        self,
        streams: Mask,
        *,
        scale: int,
        length: int,
        since: float | Array,
        score: Array,
        expected: Array,
        mean: Array,
    ) -> None:
        """Start the alarm of some streams; all arrays are [k]."""
        self.alarm |= streams
        self.since[streams] = np.broadcast_to(since, self.since.shape)[streams]
        self.scale[streams] = scale
        self.score[streams] = score[streams]
        self.expected[streams] = expected[streams]
        self.recent[streams] = mean[streams]
        self.told[streams] = (mean - expected)[streams]
        self._span[streams] = max(length, _BACK)
        self._back[streams] = 0

    def follow(self, residual: Array, defined: Mask) -> Mask:
        """Take in the residuals [k] of a window; returns the streams whose alarm ended with it."""
        standing = self.alarm & defined
        self.recent += np.where(standing, (residual - self.recent) / self._span, 0.0)
        off = np.abs(self.recent - self.expected)
        self._back = np.where(standing & (off < np.abs(self.told) / 2), self._back + 1, 0.0)
        ended: Mask = self._back >= _BACK
        self.calm = np.where(
            self._back > 0,
            self.calm + (residual - self.calm) / np.maximum(self._back, 1),
            0.0,
        )
        self.end(ended)
        return ended

    def strengthen(self, score: Array) -> None:
        """Keep the strongest evidence [k] for alarms that stand."""
        np.copyto(self.score, score, where=self.alarm & (score > self.score))

    def end(self, streams: Mask) -> None:
        """End the alarm of some streams."""
        self.alarm &= ~streams
        self.since[streams] = np.nan
        self._back[streams] = 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that is stored, by name."""
        return {name.strip("_"): value for name, value in vars(self).items()}
