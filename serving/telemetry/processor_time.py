"""Processor time of this process, and the series of what is spent for one model version."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Final

from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.cost import MODEL_CPU_TIME

Clock = Callable[[], float]


def processor_time() -> float:
    """Return the processor seconds of this process, user and system, since it began.

    Those of children that have ended are included, see getrusage(2); a fork begins at zero.
    """
    spent = 0.0
    for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(whose)
        spent += usage.ru_utime + usage.ru_stime
    return spent


class ModelProcessorTime:
    """`vigil.model.cpu.time` of a process that works for one model version alone.

    Args:
        series: where it is kept.
        role: what the process is.
        model, version: what it works for.
        clock: processor seconds of the process.
    """

    def __init__(
        self,
        series: SeriesSet,
        role: str,
        model: str,
        version: str,
        clock: Clock = processor_time,
    ) -> None:
        self._clock: Final = clock
        self._spent = series.sum(MODEL_CPU_TIME, model=model, version=version, role=role)

    def update(self) -> None:
        """Bring it up to date."""
        self._spent.value = max(self._spent.value, self._clock())
