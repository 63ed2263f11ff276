"""The exposition: names by OpenTelemetry's rules, readable by Prometheus's own parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from serving.telemetry.aggregate import merge
from serving.telemetry.counters import SeriesSet
from serving.telemetry.export.prometheus import (
    openmetrics_text,
    prometheus_name,
    prometheus_text,
)
from serving.telemetry.metric import Metric
from serving.telemetry.metrics.cost import ENERGY_JOULES
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.metrics.events import MONITOR_LAG
from serving.telemetry.metrics.explanations import EXPLAIN_COMPLETENESS_ERROR
from serving.telemetry.metrics.findings import DRIFT_SCORE
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_DURATION,
    INFERENCE_REQUESTS,
    QUEUE_ROWS,
    SLO_TOTAL,
)
from serving.telemetry.metrics.labels import LABELS_COVERAGE
from serving.telemetry.series import Series
from serving.telemetry.trace_context import SpanIds


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (INFERENCE_DURATION, "vigil_inference_duration_seconds"),
        (INFERENCE_REQUESTS, "vigil_inference_requests"),
        (BATCH_ROWS, "vigil_batch_rows"),
        (QUEUE_ROWS, "vigil_queue_rows"),
        (LABELS_COVERAGE, "vigil_labels_coverage_ratio"),
        (EXPLAIN_COMPLETENESS_ERROR, "vigil_explain_completeness_error"),
        (ENERGY_JOULES, "vigil_energy_joules"),
        (SLO_TOTAL, "vigil_slo"),
        (MONITOR_LAG, "vigil_monitor_lag_seconds"),
    ],
)
def test_names(metric: Metric, expected: str) -> None:
    assert prometheus_name(metric.name, metric.kind, metric.unit) == expected


def test_the_exposition_parses_back() -> None:
    series = SeriesSet()
    for model in ("a", 'quote " slash \\ line \n end'):
        series.sum(INFERENCE_REQUESTS, model=model, outcome="ok").add(5)
        series.histogram(INFERENCE_DURATION, model=model).record(0.003)
    series.gauge(DRIFT_SCORE, model="a").set(math.nan)
    text = prometheus_text(merge(series.snapshot())).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    requests = families["vigil_inference_requests"]
    assert requests.type == "counter"
    assert requests.documentation == "Requests answered, by outcome."
    assert {sample.name for sample in requests.samples} == {"vigil_inference_requests_total"}
    assert [sample.labels["model"] for sample in requests.samples][1].startswith('quote "')

    duration = families["vigil_inference_duration_seconds"]
    assert duration.type == "histogram"
    of_a = [sample for sample in duration.samples if sample.labels["model"] == "a"]
    buckets = {s.labels["le"]: s.value for s in of_a if s.name.endswith("_bucket")}
    assert buckets["0.002"] == 0
    assert buckets["0.005"] == 1
    assert buckets["+Inf"] == 1
    assert {s.value for s in of_a if s.name.endswith("_sum")} == {0.003}
    assert math.isnan(families["vigil_drift_score"].samples[0].value)


def test_a_series_that_nobody_described_is_exposed_all_the_same() -> None:
    text = prometheus_text([Series("other.size", "gauge", "By", (("a.b", "c"),), 2.0)]).decode()
    assert 'other_size_bytes{a_b="c"} 2.0' in text


def every_metric() -> SeriesSet:
    series = SeriesSet()
    make = {"sum": series.sum, "gauge": series.gauge, "histogram": series.histogram}
    for metric in METRICS.values():
        make[metric.kind](metric, **dict.fromkeys(metric.labels, "x"))
    return series


def test_openmetrics_has_every_metric_and_exemplars_of_traces() -> None:
    series = every_metric()
    duration = series.histogram(INFERENCE_DURATION, model="m")
    for value in (0.003, 0.004, 60.0):
        duration.record(value)
        duration.exemplify(value, SpanIds(7, int(value * 1000)), 1_700_000_000.1234)
    merged = merge(series.snapshot())
    text = openmetrics_text(merged).decode()
    families = {family.name: family for family in openmetrics_families(text)}
    names = {prometheus_name(each.name, each.kind, each.unit) for each in METRICS.values()}
    assert families.keys() == names
    shown = {
        sample.labels["le"]: sample.exemplar
        for sample in families["vigil_inference_duration_seconds"].samples
        if sample.exemplar
    }
    assert shown.keys() == {"0.005", "+Inf"}  # one for a bucket, the newest
    assert shown["0.005"].value == 0.004
    assert shown["0.005"].labels == {"trace_id": f"{7:032x}", "span_id": f"{4:016x}"}
    assert float(shown["0.005"].timestamp) == 1_700_000_000.123
    # The older format has no place for them.
    assert "trace_id" not in prometheus_text(merged).decode()
