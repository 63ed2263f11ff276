"""Newcombe's interval of a difference of two independent proportions."""

from __future__ import annotations

import math

from monitors.statistics.wilson import wilson


def newcombe(k1: int, n1: int, k2: int, n2: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of k1 / n1 - k2 / n2, made of the Wilson intervals of the two.

    Method 10 of Newcombe (1998), "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17(8).

    Args:
        k1: successes of the first sample.
        n1: its trials, positive.
        k2: successes of the second sample.
        n2: its trials, positive.
        confidence: in (0, 1).

    Raises:
        ValueError: no trials, or an argument out of range.
    """
    if not n1 or not n2:
        raise ValueError("a difference of proportions needs trials on both sides")
    p1, p2 = k1 / n1, k2 / n2
    lower1, upper1 = wilson(k1, n1, confidence)
    lower2, upper2 = wilson(k2, n2, confidence)
    difference = p1 - p2
    return (
        difference - math.hypot(p1 - lower1, upper2 - p2),
        difference + math.hypot(upper1 - p1, p2 - lower2),
    )
