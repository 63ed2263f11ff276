"""Processor time that the checks of one model version take in the monitor.

Measured around whole messages, which hold up to hundreds of rows: reading the thread's clock costs
less than a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.cost import CHECK_CPU_TIME, MODEL_CPU_TIME, MONITOR

ThreadClock = Callable[[], int]


class CheckTime:
    """`vigil.check.cpu.time` of a model version, and its `vigil.model.cpu.time` in the monitor.

    Args:
        series: where they are kept.
        model, version: their attributes.
        clock: processor nanoseconds of the calling thread.

    Attributes:
        clock: the same. Whoever works for the model reads it before and gives what it read to
            `checked` or `worked` afterwards.
    """

    def __init__(
        self,
        series: SeriesSet,
        model: str,
        version: str,
        clock: ThreadClock = time.thread_time_ns,
    ) -> None:
        self.clock: Final = clock
        self._series = series
        self._base = {"model": model, "version": version}
        self._checks: dict[str, SumSeries] = {}
        self._all = series.sum(MODEL_CPU_TIME, role=MONITOR, **self._base)

    def checked(self, check: str, began: int) -> None:
        """Count what one check has taken since `began`; it is a part of what `worked` counts."""
        spent = self._checks.get(check)
        if spent is None:
            spent = self._series.sum(CHECK_CPU_TIME, check=check, **self._base)
            self._checks[check] = spent
        spent.value += (self.clock() - began) / 1e9

    def worked(self, began: int) -> None:
        """Count all that was done for the model since `began`."""
        self._all.value += (self.clock() - began) / 1e9
