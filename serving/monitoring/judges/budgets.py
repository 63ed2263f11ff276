"""How many false alarms a monitor of a model may raise."""

from __future__ import annotations

from typing import Final

from serving.config import ModelConfig
from serving.models.consumers import (
    DATA_QUALITY,
    DRIFT,
    ESTIMATION,
    FAIRNESS,
    GUARD_RATE,
    PERFORMANCE,
    PREDICTION_DRIFT,
)

FALSE_ALARMS: Final = {
    PERFORMANCE: 1.0,
    FAIRNESS: 3.0,
    ESTIMATION: 3.0,
    DATA_QUALITY: 3.0,
    GUARD_RATE: 3.0,
    DRIFT: 6.0,
    PREDICTION_DRIFT: 6.0,
}
"""For every false page: of performance pages, of drift infos, of all others tickets."""

SLICED: Final = frozenset({PERFORMANCE, FAIRNESS, DATA_QUALITY, DRIFT, PREDICTION_DRIFT})
"""Monitors that judge the rows of slices, too."""


def rate(config: ModelConfig, monitor: str) -> float:
    """Return the false alarms per 90 days that a monitor of a model may raise.

    Of one that judges slices as well, this is the share of all rows, and of each slice.
    """
    shares = 1 + (len(config.monitors.slices) if monitor in SLICED else 0)
    return config.monitors.false_pages_per_quarter * FALSE_ALARMS[monitor] / shares
