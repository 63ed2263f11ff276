"""Buckets whose bounds grow by a fixed factor, as Prometheus' native histograms have them.

https://prometheus.io/docs/specs/native_histograms/: at schema 3 the bucket k holds the values v
with 2^((k-1)/8) < v <= 2^(k/8), so a quantile is off by 9 % at most, whatever its size. The bounds
of our fixed buckets are none of these, so both are counted.
"""

from __future__ import annotations

from bisect import bisect_left
from math import frexp
from typing import Final

import numpy as np

SCHEMA: Final = 3
ZERO_THRESHOLD: Final = 2.0**-30
"""Seconds, nearly a nanosecond: what is not above it counts as zero."""

_STEPS: Final = 1 << SCHEMA
_BOUNDS: Final = tuple(0.5 * 2 ** (step / _STEPS) for step in range(_STEPS))
_EDGES: Final = np.asarray(_BOUNDS)


class ExponentialCounts:
    """How many values each bucket holds."""

    __slots__ = ("_counts", "_zeros")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._zeros = 0

    def add(self, value: float) -> None:
        """Count a finite value."""
        if value <= ZERO_THRESHOLD:
            self._zeros += 1
            return
        fraction, exponent = frexp(value)
        bucket = bisect_left(_BOUNDS, fraction) + (exponent - 1) * _STEPS
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def add_many(self, values: np.ndarray) -> None:
        """Count every element of an array [n] of finite FP64 values."""
        above = values[values > ZERO_THRESHOLD]
        self._zeros += len(values) - len(above)
        fractions, exponents = np.frexp(above)
        buckets = np.searchsorted(_EDGES, fractions, side="left") + (exponents - 1) * _STEPS
        found, counts = np.unique(buckets, return_counts=True)
        for bucket, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._counts[bucket] = self._counts.get(bucket, 0) + count

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """Return (bucket, count) of those that hold any, in increasing order."""
        return tuple(sorted(self._counts.items()))

    @property
    def zeros(self) -> int:
        """How many values count as zero."""
        return self._zeros


def joined(
    first: tuple[tuple[int, int], ...], second: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    """Return what `buckets` would be of both together."""
    if not (first and second):
        return first or second
    counts = dict(first)
    for bucket, count in second:
        counts[bucket] = counts.get(bucket, 0) + count
    return tuple(sorted(counts.items()))


def parted(
    whole: tuple[tuple[int, int], ...], part: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    """Return what `buckets` would be of the whole without a part of it."""
    counts = dict(part)
    left = ((bucket, count - counts.get(bucket, 0)) for bucket, count in whole)
    return tuple((bucket, count) for bucket, count in left if count > 0)
