"""The last minute of the instance's totals, from which the console takes rates and quantiles."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from serving.telemetry.aggregate import SeriesKey, is_cumulative, merge, series_key
from serving.telemetry.series import Series

SAMPLE_S: Final = 2.0
WINDOW_S: Final = 60.0


class History:
    """Samples of all cumulative series over the window.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, dict[SeriesKey, Series]]] = deque()

    def sample(self, series: Iterable[Series]) -> None:
        """Take in the totals as they are now."""
        now = self._clock()
        totals = {series_key(item): item for item in series if is_cumulative(item)}
        self._samples.append((now, totals))
        while self._samples[0][0] < now - WINDOW_S:
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """Length of time that the samples cover; 0 before the second one."""
        return self._samples[-1][0] - self._samples[0][0] if self._samples else 0.0

    def increase(self) -> list[Series]:
        """Return by how much each series grew over the window; new ones grew from zero."""
        if len(self._samples) < 2:
            return []
        first, last = self._samples[0][1], self._samples[-1][1]
        return [_minus(item, first.get(key)) for key, item in last.items()]


def _minus(item: Series, before: Series | None) -> Series:
    if before is None:
        return item
    counts = tuple(a - b for a, b in zip(item.counts, before.counts, strict=True))
    return msgspec.structs.replace(item, value=item.value - before.value, counts=counts)


def pool(series: Sequence[Series]) -> Series | None:
    """Add up series that differ in their attributes only; None when there are none."""
    bare = [msgspec.structs.replace(item, attributes=()) for item in series]
    return merge(bare)[0] if bare else None


def quantile(histogram: Series, q: float) -> float | None:
    """Estimate a quantile by linear interpolation inside its bucket; None without any count.

    A quantile above the last bound is given as that bound: more is not known.
    """
    total = sum(histogram.counts)
    if total == 0:
        return None
    rank = q * total
    for place, below in enumerate(accumulate(histogram.counts)):
        if below >= rank and histogram.counts[place]:
            break
    if place == len(histogram.bounds):
        return histogram.bounds[-1]
    count = histogram.counts[place]
    low = histogram.bounds[place - 1] if place else 0.0
    high = histogram.bounds[place]
    return low + (high - low) * (rank - (below - count)) / count
