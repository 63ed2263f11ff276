"""Aggregated series as OpenTelemetry's own `MetricsData`, ready for any of its exporters."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.resource import own_version
from serving.telemetry.series import Series


def metrics_data(
    series: Iterable[Series], resource: Resource, started_ns: int, now_ns: int
) -> MetricsData:
    """Convert series to one resource with one scope.

    Args:
        series: sorted by name, as `aggregate.merge` gives them.
        resource: see `instance_resource`.
        started_ns: when counting began, Unix nanoseconds: the control plane's start.
        now_ns: the time of the values, Unix nanoseconds.
    """
    metrics = [
        _metric(name, kind, unit, list(group), started_ns, now_ns)
        for (name, kind, unit), group in groupby(series, _family)
    ]
    scope = ScopeMetrics(InstrumentationScope("vigil", own_version()), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _family(series: Series) -> tuple[str, str, str]:
    return series.name, series.kind, series.unit


def _metric(
    name: str, kind: str, unit: str, series: list[Series], started_ns: int, now_ns: int
) -> Metric:
    known = METRICS.get(name)
    cumulative = AggregationTemporality.CUMULATIVE
    data: Sum | Gauge | Histogram
    if kind == "histogram":
        points = [_histogram_point(item, started_ns, now_ns) for item in series]
        data = Histogram(points, cumulative)
    else:
        numbers = [
            NumberDataPoint(dict(item.attributes), started_ns, now_ns, item.value)
            for item in series
        ]
        data = Sum(numbers, cumulative, is_monotonic=True) if kind == "sum" else Gauge(numbers)
    return Metric(name, known.description if known else "", unit, data)


def _histogram_point(item: Series, started_ns: int, now_ns: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(item.attributes),
        start_time_unix_nano=started_ns,
        time_unix_nano=now_ns,
        count=sum(item.counts),
        sum=item.value,
        bucket_counts=item.counts,
        explicit_bounds=item.bounds,
        exemplars=[
            Exemplar({}, each.value, int(each.time * 1e9), int(each.span, 16), int(each.trace, 16))
            for each in item.exemplars
        ],
        # Optional in OTLP, and left out: cumulative counts cannot tell an interval's extremes.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
