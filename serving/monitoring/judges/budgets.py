"""How the false alarms that a model may raise are shared among its monitors."""

from __future__ import annotations

from typing import Final, Literal

from serving.config import ModelConfig
from serving.models.consumers import DATA_QUALITY, DRIFT, PERFORMANCE, PREDICTION_DRIFT, consumers

FALSE_ALARMS: Final = {"info": 12.0, "ticket": 3.0, "page": 1.0}
"""Of each severity, for every false page."""

RAISES: Final[dict[str, Literal["info", "ticket", "page"]]] = {
    DRIFT: "info",
    PREDICTION_DRIFT: "info",
    DATA_QUALITY: "ticket",
    PERFORMANCE: "page",
}
"""What a breach is worth, by monitor."""


def rate(config: ModelConfig, monitor: str) -> float:
    """Return the false alarms per 90 days that a monitor of a model may raise.

    Those that a model has and that raise the same severity share alike.
    """
    worth = RAISES[monitor]
    sharing = sum(RAISES.get(each) == worth for each in consumers(config))
    return config.monitors.false_pages_per_quarter * FALSE_ALARMS[worth] / max(sharing, 1)
