"""How good a model was on labelled rows: over time, overall, and by declared category."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np

from monitors.performance.metrics.estimate import Counts, Level, Metric, Outcomes
from serving.backtest.outcome import Figure, Point
from serving.config import ModelConfig
from serving.config.performance_thresholds import judged_metric
from serving.models.performance_counts import measured
from serving.models.profile.columns import declared_features
from serving.monitoring.reports.job import plain
from serving.reports.answers import Bin, Histogram, of_classes, of_numbers
from serving.reports.rows import ReportRows

SHOWN: Final = 0.025
"""Probability with which each end of an interval may be wrong."""
MOST_POINTS: Final = 24
ROWS_OF_A_POINT: Final = 100
SMALLEST_PART: Final = 20
"""Rows that a category needs for a figure."""

NO_THRESHOLD: Final = "no threshold is set"
UNDECIDED: Final = "the threshold lies in the interval: more labelled rows would tell"

Verdict = Literal["beyond", "within", "unknown"]


class Measurement(msgspec.Struct, frozen=True):
    """A metric of some rows.

    Attributes:
        part: which rows; empty: all.
        value, low, high: with an interval of 95 %; None: there is nothing to measure.
        verdict: whether the interval lies beyond the threshold, within it, or neither.
        reason: why the verdict is unknown.
    """

    metric: str
    part: str
    value: float | None
    low: float | None
    high: float | None
    rows: int
    threshold: float | None
    verdict: Verdict
    reason: str


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model's performance.

    Attributes:
        rows, labelled: how many there were.
        overall: each metric over all labelled rows.
        over_time: each metric over runs of labelled rows in the order of their times.
        parts: the judged metric by category of each declared feature.
        confusion: rows by true class and by predicted class; empty: there are none, or too many.
        calibration: of the classes' scores, or of numbers.
        residuals: of numbers.
    """

    rows: int
    labelled: int
    overall: tuple[Measurement, ...]
    over_time: tuple[Figure, ...]
    parts: tuple[Measurement, ...]
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: tuple[Bin, ...] = ()
    calibration_of: str = ""
    residuals: Histogram | None = None


def performance(
    rows: ReportRows, config: ModelConfig, limits: Mapping[str, float], version: str
) -> Performance:
    """Measure labelled rows, of which there is at least one.

    Args:
        rows: that the report is about.
        config: of the model.
        limits: thresholds by metric, declared and learnt.
        version: of the model.
    """
    counts, metrics = measured(config)
    section = config.monitors.performance
    all_rows = rows.outcomes()
    main = judged_metric(section, config.label_kind) if section else metrics[0].name
    found = {
        "rows": rows.rows,
        "labelled": len(all_rows.labels),
        "overall": tuple(_measure(counts, each, all_rows, limits) for each in metrics),
        "over_time": _over_time(counts, metrics, rows, limits, version),
        "parts": _parts(counts, [m for m in metrics if m.name == main], rows, config, limits),
    }
    if config.label_kind == "classes":
        found |= of_classes(all_rows, config)
    elif config.label_kind == "numbers" and all_rows.predicted.ndim == 1:
        found |= of_numbers(all_rows)
    return msgspec.convert(found, Performance, from_attributes=True)


def _measure(
    counts: Counts, metric: Metric, outcomes: Outcomes, limits: Mapping[str, float], part: str = ""
) -> Measurement:
    sums = np.zeros(counts.columns)
    counts.add(sums, outcomes)
    found = metric.of(sums[None], Level(np.full(1, SHOWN), np.ones(1)))
    value, low, high = (_known(each[0]) for each in (found.value, found.low, found.high))
    threshold = limits.get(metric.name)
    verdict, reason = verdict_of(low, high, threshold, metric.direction)
    if value is None:
        verdict, reason = "unknown", metric.why(sums)
    return Measurement(
        metric.name, part, value, low, high, len(outcomes.labels), threshold, verdict, reason
    )


def verdict_of(
    low: float | None, high: float | None, threshold: float | None, direction: str
) -> tuple[Verdict, str]:
    """Return what an interval says of a threshold, and why it says nothing.

    Args:
        low, high: the interval; None: there is none.
        threshold: None: nobody has set one.
        direction: on which side of the threshold it is bad.
    """
    if threshold is None:
        return "unknown", NO_THRESHOLD
    if low is None or high is None:
        return "unknown", "there is no interval"
    if direction == "above":
        low, high, threshold = -high, -low, -threshold
    if high < threshold:
        return "beyond", ""
    if low >= threshold:
        return "within", ""
    return "unknown", UNDECIDED


def _over_time(
    counts: Counts,
    metrics: Sequence[Metric],
    rows: ReportRows,
    limits: Mapping[str, float],
    version: str,
) -> tuple[Figure, ...]:
    places = np.flatnonzero(rows.labelled)
    number = min(max(len(places) // ROWS_OF_A_POINT, 1), MOST_POINTS)
    runs = np.array_split(places, number)
    outcomes = []
    for run in runs:
        which = np.zeros(rows.rows, np.bool_)
        which[run] = True
        outcomes.append((float(rows.times[run].mean()), rows.outcomes(which)))
    figures = []
    for metric in metrics:
        points = []
        for time, some in outcomes:
            one = _measure(counts, metric, some, limits)
            off = {"beyond": True, "within": False, "unknown": None}[one.verdict]
            points.append(Point(time, one.value, one.low, one.high, off))
        breaches = sum(bool(each.breached) for each in points)
        limit = limits.get(metric.name)
        figures.append(
            Figure(
                version, "performance", metric.name, "", "", limit, tuple(points), breaches
            )
        )  # fmt: skip
    return tuple(figures)


def _parts(
    counts: Counts,
    metrics: Sequence[Metric],
    rows: ReportRows,
    config: ModelConfig,
    limits: Mapping[str, float],
) -> tuple[Measurement, ...]:
    found = []
    for name, feature in declared_features(config).items():
        if not feature.categories or name not in rows.columns:
            continue
        values = plain(rows.columns[name])
        for category in feature.categories[:MOST_POINTS]:
            outcomes = rows.outcomes(values == category)
            part = f"{name} = {category}"
            if len(outcomes.labels) < SMALLEST_PART:
                few = f"fewer than {SMALLEST_PART} labelled rows"
                found += [
                    Measurement(
                        each.name, part, None, None, None, len(outcomes.labels),
                        limits.get(each.name), "unknown", few,
                    )
                    for each in metrics
                ]  # fmt: skip
                continue
            found += [_measure(counts, each, outcomes, limits, part) for each in metrics]
    return tuple(found)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
