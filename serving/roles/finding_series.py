"""Findings as metrics. Attributes are columns, metrics and attribute names of the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable

from monitors.finding import Finding
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet
from serving.telemetry.names import Metric


class FindingSeries:
    """The series of one model version's findings.

    Args:
        series: where they are kept.
        model, version: attributes of all of them.
    """

    def __init__(self, series: SeriesSet, model: str, version: str) -> None:
        self._series = series
        self._base = {"model": model, "version": version}
        # From zero on, so that the first alarm is an increase that an alert can see.
        self._alarms = series.sum(names.DRIFT_ALARMS, **self._base)

    def show(self, findings: Iterable[Finding]) -> None:
        """Set the gauges to the latest findings."""
        for finding in findings:
            if finding.monitor == "drift" and finding.metric == "psi":
                self._gauge(names.DRIFT_SCORE, finding.value, feature=finding.subject)
                self._gauge(names.DRIFT_P_VALUE, finding.p_value, feature=finding.subject)
            elif finding.monitor == "fairness":
                which = {"metric": finding.metric, "attribute": finding.subject}
                self._gauge(names.FAIRNESS_DISPARITY, finding.value, **which)
                lower, upper = finding.ci or (None, None)
                self._gauge(names.FAIRNESS_CI_LOWER, lower, **which)
                self._gauge(names.FAIRNESS_CI_UPPER, upper, **which)
            elif finding.monitor == "performance":
                self._gauge(names.PERFORMANCE_SCORE, finding.value, metric=finding.metric)

    def count_alarms(self, findings: Iterable[Finding]) -> None:
        """Count each window that raised drift."""
        self._alarms.add(sum(bool(f.breached) for f in findings if f.metric == "drifted_features"))

    def coverage(self, share: float) -> None:
        """Set the share of predictions that have a label."""
        self._gauge(names.LABELS_COVERAGE, share)

    def _gauge(self, gauge: Metric, value: float | None, /, **attributes: str) -> None:
        if value is not None and not math.isnan(value):
            self._series.gauge(gauge, **attributes, **self._base).set(value)
