"""Findings as metrics. Attributes are columns, metrics and attribute names of the configuration.

Every finding has the same series, whatever monitor it is of; some have a name of their area too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from monitors.finding import ESTIMATION_ERROR, Finding
from serving.monitoring.group_coverage import GroupCount
from serving.telemetry.counters import GaugeSeries, SeriesSet
from serving.telemetry.metric import Metric
from serving.telemetry.metrics.findings import (
    DRIFT_ALARMS,
    DRIFT_P_VALUE,
    DRIFT_SCORE,
    FAIRNESS_CI_LOWER,
    FAIRNESS_CI_UPPER,
    FAIRNESS_DISPARITY,
    FAIRNESS_SUPPRESSED,
    FINDING_BREACHED,
    FINDING_CI_LOWER,
    FINDING_CI_UPPER,
    FINDING_ROWS,
    FINDING_VALUE,
    PERFORMANCE_ESTIMATED,
    PERFORMANCE_ESTIMATION_ERROR,
    PERFORMANCE_OVERALL,
    PERFORMANCE_SCORE,
)
from serving.telemetry.metrics.labels import LABELS_COVERAGE, LABELS_COVERAGE_BY_GROUP

_Gauge = tuple[Metric, float | None, dict[str, str]]


class FindingSeries:
    """The series of one model version's findings. A value that is not known has no series.

    Args:
        series: where they are kept.
        model, version: attributes of all of them.
        counted_as: version in the attributes of what is counted, and so never ends.
    """

    def __init__(
        self, series: SeriesSet, model: str, version: str, counted_as: str | None = None
    ) -> None:
        self._series = series
        self._base = {"model": model, "version": version}
        self._shown: dict[str, dict[tuple[str, ...], GaugeSeries]] = {}
        self._later: dict[str, Iterable[Finding]] = {}
        # From zero on, so that the first alarm is an increase that an alert can see.
        counted = {"model": model, "version": counted_as or version}
        self._alarms = series.sum(DRIFT_ALARMS, **counted)

    def show(self, monitor: str, findings: Iterable[Finding]) -> None:
        """Set a monitor's gauges to its latest findings, and end those it has none for."""
        self._later.pop(monitor, None)
        found = [gauge for finding in findings for gauge in _gauges(finding)]
        self._set(monitor, found)

    def show_later(self, monitor: str, findings: Iterable[Finding]) -> None:
        """Show findings at the next `catch_up`, unless the monitor has others before.

        They may change until then: a busy model fills many windows between two looks.
        """
        self._later[monitor] = findings

    def catch_up(self) -> None:
        """Show what was to be shown later."""
        for monitor, findings in tuple(self._later.items()):
            self.show(monitor, findings)

    def hide(self, monitor: str) -> None:
        """End a monitor's gauges."""
        self.show(monitor, ())

    def end(self) -> None:
        """End every gauge: nobody watches the version any more."""
        self._later.clear()
        self._shown.clear()
        self._series.drop_gauges(**self._base)

    def count_alarms(self, findings: Iterable[Finding]) -> None:
        """Count each window of all rows that raised drift."""
        self._alarms.add(
            sum(
                bool(each.breached)
                for each in findings
                if each.metric == "drifted_features" and not each.segment
            )
        )

    def labels(
        self, coverage: float, overall: Mapping[str, float], groups: Iterable[GroupCount]
    ) -> None:
        """Set what all labels together say.

        Args:
            coverage: share of predictions that have one.
            overall: scores against all of them, by metric.
            groups: how many rows of each group have one.
        """
        shown: list[_Gauge] = [(LABELS_COVERAGE, coverage, {})]
        shown += [(PERFORMANCE_OVERALL, score, {"metric": n}) for n, score in overall.items()]
        shown += [
            (
                LABELS_COVERAGE_BY_GROUP,
                each.labelled / each.predicted,
                {"attribute": each.attribute, "group": each.group},
            )
            for each in groups
            if each.shown
        ]
        self._set("labels", shown)

    def _set(self, monitor: str, wanted: Iterable[_Gauge]) -> None:
        # One event may fill several windows; what the last one found is what is so.
        latest = {
            (metric.name, *which.values()): (metric, value, which)
            for metric, value, which in wanted
        }
        # A busy model fills several windows a second: a gauge that is there is not looked up again.
        before = self._shown.get(monitor, {})
        shown = {}
        for key, (metric, value, which) in latest.items():
            if value is not None and not math.isnan(value):
                gauge = before.pop(key, None) or self._series.gauge(metric, **which, **self._base)
                gauge.set(value)
                shown[key] = gauge
        for gauge in before.values():
            self._series.drop(gauge)
        self._shown[monitor] = shown


def _gauges(finding: Finding) -> Iterator[_Gauge]:
    if finding.segment:  # it would stand in the place of the finding about all rows
        return
    which = {"monitor": finding.monitor, "metric": finding.metric}
    if finding.subject:
        which["subject"] = finding.subject
    lower, upper = finding.ci or (None, None)
    breached = None if finding.breached is None else float(finding.breached)
    yield FINDING_VALUE, finding.value, which
    yield FINDING_BREACHED, breached, which
    yield FINDING_CI_LOWER, lower, which
    yield FINDING_CI_UPPER, upper, which
    yield FINDING_ROWS, None if math.isnan(finding.value) else finding.n_current, which
    if finding.monitor in _OF_AREA:
        yield from _OF_AREA[finding.monitor](finding)


def _of_drift(finding: Finding) -> Iterator[_Gauge]:
    if finding.metric == "psi":
        feature = {"feature": finding.subject}
        yield DRIFT_SCORE, finding.value, feature
        yield DRIFT_P_VALUE, finding.p_value, feature


def _of_fairness(finding: Finding) -> Iterator[_Gauge]:
    which = {"metric": finding.metric, "attribute": finding.subject}
    lower, upper = finding.ci or (None, None)
    yield FAIRNESS_DISPARITY, finding.value, which
    yield FAIRNESS_CI_LOWER, lower, which
    yield FAIRNESS_CI_UPPER, upper, which
    yield FAIRNESS_SUPPRESSED, finding.detail.get("suppressed"), which


def _of_performance(finding: Finding) -> Iterator[_Gauge]:
    yield PERFORMANCE_SCORE, finding.value, {"metric": finding.metric}


def _of_estimation(finding: Finding) -> Iterator[_Gauge]:
    name = finding.metric.removesuffix(ESTIMATION_ERROR)
    realised = name != finding.metric
    metric = PERFORMANCE_ESTIMATION_ERROR if realised else PERFORMANCE_ESTIMATED
    yield metric, finding.value, {"metric": name}


_OF_AREA: Final[dict[str, Callable[[Finding], Iterator[_Gauge]]]] = {
    "drift": _of_drift,
    "estimation": _of_estimation,
    "fairness": _of_fairness,
    "performance": _of_performance,
}
"""Names of an area beside the generic ones, for the monitors that have some."""
