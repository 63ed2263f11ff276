"""Series as OpenTelemetry has them."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Sum
from opentelemetry.sdk.resources import Resource

from serving.telemetry.export.metrics_data import metrics_data
from serving.telemetry.metrics.inference import INFERENCE_REQUESTS
from serving.telemetry.resource import own_version
from serving.telemetry.series import Series

STARTED, NOW = 5, 7


def converted(*series: Series):
    (resource,) = metrics_data(series, Resource({"a": "b"}), STARTED, NOW).resource_metrics
    assert dict(resource.resource.attributes) == {"a": "b"}
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("vigil", own_version())
    return scope.metrics


def test_nothing_is_a_scope_without_metrics():
    assert converted() == []


def test_series_of_one_name_are_points_of_one_metric_in_their_order():
    a, b = (("model", "a"),), (("model", "b"), ("code", "OK"))
    given = ("m", "{x}", b, 2.0), ("m", "{x}", a, 1), ("n", "s", a, 3)
    one, other = converted(*(Series(name, "sum", unit, of, v) for name, unit, of, v in given))
    assert (one.name, other.name) == ("m", "n")
    assert (one.unit, other.unit) == ("{x}", "s")
    assert [(dict(p.attributes), p.value) for p in one.data.data_points] == [
        ({"model": "b", "code": "OK"}, 2.0),
        ({"model": "a"}, 1),
    ]
    assert [(p.start_time_unix_nano, p.time_unix_nano) for p in one.data.data_points] == [
        (5, 7)
    ] * 2


@pytest.mark.parametrize("other", [("m", "gauge", "s"), ("m", "sum", "1"), ("m2", "sum", "s")])
def test_another_name_kind_or_unit_is_another_metric(other):
    metrics = converted(Series("m", "sum", "s", (), 1), Series(*other, (), 2))
    assert len(metrics) == 2
    assert [len(metric.data.data_points) for metric in metrics] == [1, 1]


def test_a_sum_only_grows_and_counts_from_the_start():
    (metric,) = converted(Series("m", "sum", "s", (), 0.0))
    assert isinstance(metric.data, Sum)
    assert metric.data.is_monotonic
    assert metric.data.aggregation_temporality == AggregationTemporality.CUMULATIVE


@pytest.mark.parametrize("value", [-1.5, 0, float("inf"), 2**63])
def test_a_gauge_is_what_it_is(value):
    (metric,) = converted(Series("m", "gauge", "s", (), value))
    assert isinstance(metric.data, Gauge)
    assert metric.data.data_points[0].value == value


@pytest.mark.parametrize(
    ("bounds", "counts"), [((0.1, 1.0), (1, 0, 2)), ((), (3,)), ((1.0,), (0, 0))]
)
def test_a_histogram_keeps_its_buckets_and_has_no_extremes(bounds, counts):
    (metric,) = converted(Series("m", "histogram", "s", (("a", "b"),), 4.5, bounds, counts))
    assert isinstance(metric.data, Histogram)
    assert metric.data.aggregation_temporality == AggregationTemporality.CUMULATIVE
    (point,) = metric.data.data_points
    assert (point.count, point.sum) == (sum(counts), 4.5)
    assert (tuple(point.bucket_counts), tuple(point.explicit_bounds)) == (counts, bounds)
    assert (point.min, point.max) == (None, None)
    assert dict(point.attributes) == {"a": "b"}
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 7)


def test_what_is_declared_is_described():
    known, unknown = converted(
        Series(INFERENCE_REQUESTS.name, "sum", "{request}", (), 1), Series("odd", "sum", "1", (), 1)
    )
    assert known.description == INFERENCE_REQUESTS.description
    assert known.description
    assert unknown.description == ""
