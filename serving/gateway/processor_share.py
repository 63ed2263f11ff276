"""A gateway's processor time, shared out to the models that it answers for.

Requests of all models are read, batched and answered in one thread, often several in one system
call; to time each would cost more than many of them do. So each model gets the share of its
requests among all that were answered within the same second. A request of many rows counts no more
than one of a single row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.cost import GATEWAY, MODEL_CPU_TIME, NO_MODEL
from serving.telemetry.metrics.inference import INFERENCE_REQUESTS
from serving.telemetry.processor_time import Clock, processor_time
from serving.telemetry.series import Series

Version = tuple[str, str]
_NONE: Final = (NO_MODEL, "")


class ProcessorShare:
    """`vigil.model.cpu.time` of one gateway.

    Args:
        clock: processor seconds of this process.
    """

    def __init__(self, clock: Clock = processor_time) -> None:
        self._clock = clock
        self._series = SeriesSet()
        self._spent = 0.0
        self._answered: dict[Version, float] = {}

    def series(self, counted: Iterable[Series]) -> tuple[Series, ...]:
        """Share out what was spent since the last call; returns the series.

        Args:
            counted: the gateway's series as they are now. Time in which no request was answered
                belongs to no model.
        """
        spent = self._clock()
        new, self._spent = spent - self._spent, spent
        answered = _answered(counted)
        weights = {
            version: max(0.0, count - self._answered.get(version, 0.0))
            for version, count in answered.items()
        }
        self._answered = answered
        total = sum(weights.values())
        if not total:
            weights[_NONE] = total = 1.0
        for (model, version), weight in weights.items():
            self._of(model, version).add(max(0.0, new) * weight / total)
        return self._series.snapshot()

    def _of(self, model: str, version: str) -> SumSeries:
        return self._series.sum(MODEL_CPU_TIME, model=model, version=version, role=GATEWAY)


def _answered(counted: Iterable[Series]) -> dict[Version, float]:
    """Return the requests that were answered, whatever the outcome, by model and version."""
    found: dict[Version, float] = {}
    for item in counted:
        if item.name == INFERENCE_REQUESTS.name:
            about = dict(item.attributes)
            version = (about["model"], about["version"])
            found[version] = found.get(version, 0.0) + item.value
    return found
