"""The exposition: names by OpenTelemetry's rules, readable by Prometheus's own parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.telemetry.aggregate import merge
from serving.telemetry.counters import SeriesSet
from serving.telemetry.export.prometheus import prometheus_name, prometheus_text
from serving.telemetry.metric import Metric
from serving.telemetry.metrics.events import MONITOR_LAG
from serving.telemetry.metrics.explanations import EXPLAIN_COMPLETENESS_ERROR
from serving.telemetry.metrics.findings import DRIFT_SCORE
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_DURATION,
    INFERENCE_REQUESTS,
    QUEUE_ROWS,
)
from serving.telemetry.metrics.labels import LABELS_COVERAGE
from serving.telemetry.metrics.process import ENERGY_JOULES
from serving.telemetry.series import Series


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
