"""How requests of one model version ended: counted and timed, cheaply enough for every one."""

from __future__ import annotations

from serving.errors import (
    ClientGone,
    DeadlineExceeded,
    GuardRejected,
    InvalidInput,
    ModelNotReady,
    NoReplica,
    Overloaded,
    PayloadTooLarge,
    QueueFull,
    VigilError,
)
from serving.telemetry import names
from serving.telemetry.counters import MOST_LATE, HistogramSeries, SeriesSet, SumSeries

_OUTCOME_OF: dict[type[VigilError], str] = {
    InvalidInput: names.OUTCOME_INVALID,
    PayloadTooLarge: names.OUTCOME_INVALID,
    GuardRejected: names.OUTCOME_REJECTED,
    Overloaded: names.OUTCOME_OVERLOADED,
    QueueFull: names.OUTCOME_OVERLOADED,
    DeadlineExceeded: names.OUTCOME_DEADLINE,
    NoReplica: names.OUTCOME_UNAVAILABLE,
    ModelNotReady: names.OUTCOME_UNAVAILABLE,
}


class RequestSeries:
    """Per-request series of one model version, made once so that recording is cheap.

    Args:
        series: where the series are kept.
        model, version: attributes of every series.
    """

    def __init__(self, series: SeriesSet, model: str, version: str) -> None:
        self._series = series
        self._base = {"model": model, "version": version}
        self._ok = self._of(names.OUTCOME_OK)

    def _of(self, outcome: str) -> tuple[SumSeries, HistogramSeries]:
        return (
            self._series.sum(names.INFERENCE_REQUESTS, outcome=outcome, **self._base),
            self._series.histogram(names.INFERENCE_DURATION, outcome=outcome, **self._base),
        )

    def succeeded(self, seconds: float) -> None:
        """Count a request that was answered with outputs."""
        requests, duration = self._ok
        requests.value += 1
        late = duration.late
        late.append(seconds)
        if len(late) >= MOST_LATE:
            duration.count_late()

    def failed(self, error: VigilError, seconds: float) -> None:
        """Count a request that was answered with an error."""
        if isinstance(error, ClientGone):
            self.abandoned(seconds)
            return
        # Outcome and reason are closed sets: no client can extend them.
        self._count(_OUTCOME_OF.get(type(error), names.OUTCOME_FAILED), seconds)
        self._series.sum(names.REJECTED, reason=type(error).__name__, **self._base).add(1)

    def abandoned(self, seconds: float) -> None:
        """Count a request that its client gave up, after `seconds`."""
        self._count(names.OUTCOME_ABANDONED, seconds)

    def _count(self, outcome: str, seconds: float) -> None:
        requests, duration = self._of(outcome)
        requests.add(1)
        duration.record(seconds)
