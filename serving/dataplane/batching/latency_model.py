"""How long a batch takes as a function of its rows, learned from the batches that were answered.

Sizes fall into buckets by powers of two; each keeps its last few times, so that old ones are
forgotten and one slow batch changes little. Between buckets the curve is a straight line.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

SAMPLES = 16
"""Times that a bucket remembers."""
LEAST_SAMPLES = 4
"""A bucket with fewer says nothing yet."""
FORGET_S = 10.0
"""A bucket that has not been seen for so long is forgotten: what is never tried again because of
what it once cost must be tried again."""
REFIT_EVERY = 8


class LatencyModel:
    """Learns one model version's batch times; O(1) per batch, a fit now and then.

    Two curves come out of it. `high` is nearly the slowest of the recent times and grows in
    proportion beyond the largest size seen: use it to promise. `low` is nearly the quickest and
    assumes the best beyond what was seen: use it to say that something is impossible.
    """

    __slots__ = ("_buckets", "_fitted_at", "_high", "_low", "_rows", "_seen")

    def __init__(self) -> None:
        self._buckets: dict[int, deque[tuple[int, float, float]]] = {}
        self._seen = 0
        self._fitted_at = (-1, 0.0)
        self._rows: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []

    def observe(self, rows: int, seconds: float, now: float) -> None:
        """Take in one batch of `rows` that took `seconds`, at monotonic time `now`."""
        index = rows.bit_length()
        bucket = self._buckets.get(index)
        if bucket is None:
            bucket = self._buckets[index] = deque(maxlen=SAMPLES)
        bucket.append((rows, seconds, now))
        self._seen += 1

    def low(self, rows: int, now: float) -> float:
        """Return seconds that `rows` need at the very least; 0 when nothing is known."""
        self._fit(now)
        known = self._rows
        if not known:
            return 0.0
        if rows < known[0]:
            return self._low[0] * rows / known[0]
        return _on_line(known, self._low, rows) if rows < known[-1] else self._low[-1]

    def high(self, rows: int, now: float) -> float:
        """Return seconds that `rows` hardly ever exceed; 0 when nothing is known."""
        self._fit(now)
        known = self._rows
        if not known:
            return 0.0
        if rows <= known[0]:
            return self._high[0]
        if rows >= known[-1]:
            return self._high[-1] * rows / known[-1]
        return _on_line(known, self._high, rows)

    def most_rows(self, seconds: float, at_most: int, now: float) -> int:
        """Return the most rows, 1 to `at_most`, that hardly ever take longer than `seconds`.

        Where the largest size seen fits, twice as many may be tried: that takes twice as long at
        most, and usually hardly longer. Otherwise sizes never seen would never be learned.
        """
        if self.high(at_most, now) <= seconds:
            return at_most
        if self._high[-1] <= seconds:
            in_proportion = self._rows[-1] * seconds / self._high[-1]
            return min(at_most, max(1, int(max(in_proportion, 2 * self._rows[-1]))))
        fits, too_many = 1, at_most
        while too_many - fits > 1:  # the curve never falls
            middle = (fits + too_many) // 2
            if self.high(middle, now) <= seconds:
                fits = middle
            else:
                too_many = middle
        return fits

    def _fit(self, now: float) -> None:
        seen, at = self._fitted_at
        # While little is known every batch counts.
        enough = REFIT_EVERY if seen >= SAMPLES else 1
        if self._seen - seen < enough and now - at < FORGET_S / 10:
            return
        self._fitted_at = (self._seen, now)
        for index in [i for i, b in self._buckets.items() if now - b[-1][2] > FORGET_S]:
            del self._buckets[index]
        self._rows, self._low, self._high = [], [], []
        low = high = 0.0
        for _, bucket in sorted(self._buckets.items()):
            if len(bucket) < LEAST_SAMPLES:
                continue
            times = sorted(seconds for _, seconds, _ in bucket)
            aside = len(times) // 8  # a batch or two that were luckier or unluckier than most
            # More rows never take less time; where it looks so, it is chance.
            low, high = max(low, times[aside]), max(high, times[-1 - aside])
            self._rows.append(sum(rows for rows, _, _ in bucket) / len(bucket))
            self._low.append(low)
            self._high.append(high)


def _on_line(xs: list[float], ys: list[float], x: float) -> float:
    right = max(1, bisect_left(xs, x))
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (x - x0) / (x1 - x0) * (y1 - y0)
