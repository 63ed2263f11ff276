"""How one number, false pages per quarter, becomes levels of tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

QUARTER: Final = 90 * 86400.0
"""Seconds of the period that error budgets are stated for."""

SEVERITIES: Final[Mapping[Literal["info", "ticket", "page"], float]] = {
    "page": 1.0,
    "ticket": 3.0,
    "info": 12.0,
}
"""False alarms of each severity for every false page: 3 tickets are one a month, 12 infos about
one a week."""


def level(rate: float, streams: int, scales: int, interval: float, stride: int) -> float:
    """Return what a p-value of one stream, look and scale is held against.

    Bonferroni's inequality: the expected number of false alarms is at most the sum of all levels,
    however the streams, looks and scales depend on each other.

    Args:
        rate: expected false alarms per 90 days, of all streams together.
        streams: streams that share it.
        scales: time scales that share it equally.
        interval: seconds from one window to the next.
        stride: windows from one look of the scale to the next.
    """
    looks = max(QUARTER / (interval * stride), 1.0)
    return min(rate / (streams * scales * looks), 0.05)
