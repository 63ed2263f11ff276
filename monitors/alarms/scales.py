"""Means of the latest windows over several time scales, and what could be known before each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.alarms.standardized import Array, Mask

DAY: Final = 86400.0

WEIGHT, LEVEL, SAMPLING, EXPECTED = range(4)
"""Rows of a block: sums over its windows of the weight, of weight times residual, of weight squared
times sampling variance, and of weight times what was expected of the window without the residual.
"""


def lengths_for(interval: float) -> tuple[int, ...]:
    """Return the time scales in windows: 1, 2, and about 1, 2, 6, 12 and 24 h.

    Each is a multiple of the one before. Windows that are short have scales below an hour, too;
    for windows longer than 10 minutes the scales count windows as if they were of 10 minutes.
    """
    hour = max(round(3600 / interval), 6)
    lengths = [1, 2, 6]
    while lengths[-1] * 12 < hour:
        lengths.append(lengths[-1] * 6)
    if lengths[-1] < hour:
        lengths.append(lengths[-1] * round(hour / lengths[-1]))
    hours = lengths[-1]
    return (*lengths, hours * 2, hours * 6, hours * 12, hours * 24)


@dataclass(frozen=True, slots=True)
class Look:
    """One scale at a moment when it is looked at.

    Attributes:
        index: which scale.
        mean: [k] weighted mean of the residuals of its windows.
        sampling: [k] variance of this mean if rows were independent.
        expected: [k] the same mean of what was expected of the windows without the residual.
        weight: [k] total weight; 0 where no window had a row.
        before: [spans, k] averages as they were before the first of its windows.
        since: when the first of its windows began, in seconds.
    """

    index: int
    mean: Array
    sampling: Array
    expected: Array
    weight: Array
    before: Array
    since: float


class Scales:
    """Rings of blocks of windows, one ring per scale. Not thread-safe.

    A scale of L windows is looked at whenever a block of the next smaller scale is complete.
    Averages over past windows (`averages`) are exponential, with the spans of `spans`; each ring
    remembers what they were before its oldest block.

    Args:
        lengths: windows of each scale; the first is 1 and each is a multiple of the one before.
        streams: k.
    """

    def __init__(self, lengths: tuple[int, ...], streams: int) -> None:
        self.lengths = lengths
        self.strides = (1, *lengths[:-1])
        self.spans = (1, *lengths[2:-4], lengths[-3], lengths[-1])
        self.averages: Array = np.zeros((len(self.spans), streams))
        self.windows = 0
        self.seen: Array = np.zeros(streams)
        blocks = [length // stride for length, stride in zip(lengths, self.strides, strict=True)]
        self.rings: list[Array] = [np.zeros((m, 4, streams)) for m in blocks]
        self.past: list[Array] = [np.zeros((m, len(self.spans), streams)) for m in blocks]
        self.starts: list[Array] = [np.zeros(m) for m in blocks]
        self._alpha = np.array([2 / (span + 1) for span in self.spans])[:, None]

    def push(self, block: Array, first: float) -> list[Look]:
        """Take in a window; returns the scales to be looked at now, the shortest first.

        The very first window is looked at against averages of 0.

        Args:
            block: [4, k] see `WEIGHT`.
            first: when the window began.
        """
        self.windows += 1
        looks: list[Look] = []
        total, since = block, first
        for index, stride in enumerate(self.strides):
            if self.windows % stride:
                break
            ring, starts = self.rings[index], self.starts[index]
            strides = self.windows // stride
            slot = strides % len(ring)
            # The slot of the block that is `len(ring)` blocks old; the next one is the oldest left.
            ring[slot], starts[slot] = total, since
            total, since = ring.sum(0), float(starts[(strides + 1) % len(ring)])
            if strides > len(ring) or (index == 0 and self.windows == 1):
                looks.append(self._look(index, total, self.past[index][slot].copy(), since))
        self._move(block)
        for index, stride in enumerate(self.strides):
            if self.windows % stride:
                break
            past = self.past[index]
            past[self.windows // stride % len(past)] = self.averages
        return looks

    def _look(self, index: int, total: Array, before: Array, since: float) -> Look:
        weight = total[WEIGHT]
        divisor = np.where(weight > 0, weight, 1.0)
        return Look(
            index=index,
            mean=total[LEVEL] / divisor,
            sampling=total[SAMPLING] / divisor**2,
            expected=total[EXPECTED] / divisor,
            weight=weight,
            before=before,
            since=since,
        )

    def _move(self, block: Array) -> None:
        defined = block[WEIGHT] > 0
        value = np.where(defined, block[LEVEL] / np.where(defined, block[WEIGHT], 1.0), 0.0)
        self.seen += defined
        # As an ordinary mean at first: an average over 36 windows is one of those that there are.
        alpha = np.maximum(self._alpha, 1 / np.maximum(self.seen, 1)) * defined
        self.averages += alpha * (value - self.averages)

    def shift(self, by: Array) -> None:
        """Lower all residuals [k] by what is expected of the streams from now on."""
        self.averages -= by
        for ring, past in zip(self.rings, self.past, strict=True):
            ring[:, LEVEL] -= ring[:, WEIGHT] * by
            ring[:, EXPECTED] += ring[:, WEIGHT] * by
            past -= by

    def settle(self, streams: Mask, level: Array) -> None:
        """Forget what some streams were, as if they had been at a level [k] all the time."""
        for averages in (self.averages, *(past for ring in self.past for past in ring)):
            averages[:, streams] = level[streams]
        for ring in self.rings:
            ring[:, LEVEL, streams] = ring[:, WEIGHT, streams] * level[streams]

    def arrays(self) -> dict[str, Array]:
        """Return all that is stored, by name."""
        named = {"averages": self.averages, "seen": self.seen}
        for kind, each in (("ring", self.rings), ("past", self.past), ("start", self.starts)):
            named |= {f"{kind}{index}": array for index, array in enumerate(each)}
        return named
