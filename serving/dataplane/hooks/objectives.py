"""Counts requests by a model's objectives: those that they concern, and those that were good."""

from __future__ import annotations

from math import inf

from serving.config.objectives import Slo
from serving.dataplane.hooks.records import BatchDone, RequestRefused
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import SLO_GOOD, SLO_OBJECTIVE, SLO_TOTAL
from serving.telemetry.outcomes import SERVER_FAULTS


class Objectives:
    """Counts the requests of one model version; `telemetry/outcomes.py` says which count.

    Args:
        series: where the series are kept.
        model, version: the attributes of every series.
        slo: the model's objectives.
    """

    def __init__(self, series: SeriesSet, model: str, version: str, slo: Slo) -> None:
        self._good = series.sum(SLO_GOOD, model=model, version=version)
        self._total = series.sum(SLO_TOTAL, model=model, version=version)
        self._within_s = inf if slo.latency_ms is None else slo.latency_ms / 1e3

    def batch_done(self, done: BatchDone) -> None:
        """Count the requests that a batch answered."""
        end, within = done.answered, self._within_s
        good = total = 0
        for request in done.requests:
            failure = request.failure
            if failure is not None:
                if failure.outcome in SERVER_FAULTS:
                    total += 1
            elif not request.refused:
                total += 1
                if end - request.arrived <= within:
                    good += 1
        self._good.value += good
        self._total.value += total

    def request_refused(self, refused: RequestRefused) -> None:
        """Count a request that no batch has answered, if the server is to blame."""
        if refused.failure.outcome in SERVER_FAULTS:
            self._total.value += 1


def show_objective(series: SeriesSet, model: str, version: str, slo: Slo | None) -> None:
    """Show the objective of the revision that answers from now on, or that it has none."""
    gauge = series.gauge(SLO_OBJECTIVE, model=model, version=version)
    if slo is None:
        series.drop(gauge)
    else:
        gauge.set(slo.availability)
