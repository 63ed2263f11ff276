"""Recorders: buckets, totals, and what they refuse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.telemetry.counters import HistogramSeries, SeriesSet
from serving.telemetry.metric import LATENCY_BOUNDS_S
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.metrics.findings import PERFORMANCE_SCORE
from serving.telemetry.metrics.guards import GUARD_DECISIONS, GUARD_SCORE
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_DURATION,
    QUEUE_ROWS,
    RETRIES,
    SLO_TOTAL,
)
from serving.telemetry.metrics.models import REPLICA_SLOTS_TOTAL
from serving.telemetry.trace_context import SpanIds


def test_a_value_on_a_bound_belongs_to_the_bucket_below() -> None:
    batches = HistogramSeries(BATCH_ROWS)
    for rows in (1, 2, 3, 1024, 1025):
        batches.record(rows)
    series = batches.snapshot()
    assert series.counts[0] == 1
    assert series.counts[1] == 1
    assert series.counts[2] == 1
    assert series.counts[-2] == 1
    assert series.counts[-1] == 1
    assert series.value == 1 + 2 + 3 + 1024 + 1025


@given(st.lists(st.floats(width=64, min_value=-1e6, max_value=1e6) | st.just(float("nan"))))
def test_recording_many_is_recording_each(values: list[float]) -> None:
    one, many = HistogramSeries(GUARD_SCORE), HistogramSeries(GUARD_SCORE)
    for value in values:
        one.record(value)
    many.record_many(np.array(values))
    assert one.snapshot().counts == many.snapshot().counts
    assert one.snapshot().value == pytest.approx(many.snapshot().value, abs=1e-6)


def test_what_was_noted_for_later_is_there_for_whoever_looks() -> None:
    waits = HistogramSeries(INFERENCE_DURATION)
    waits.record(0.5)
    waits.late += [0.25, 0.25]
    for _ in range(2):  # and is counted once
        assert (sum(waits.snapshot().counts), waits.snapshot().value) == (3, 1.0)
    assert not waits.late


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=400), max_size=5))
def test_recording_late_is_recording_each(batches: list[list[float]]) -> None:
    one, late = HistogramSeries(GUARD_SCORE), HistogramSeries(GUARD_SCORE)
    for values in batches:
        for value in values:
            one.record(value)
        late.late += values
        if len(late.late) > 100:
            late.count_late()
            assert not late.late
    assert one.snapshot().counts == late.snapshot().counts
    assert one.snapshot().value == pytest.approx(late.snapshot().value, abs=1e-6)


def test_values_that_are_not_finite_leave_no_trace() -> None:
    scores = HistogramSeries(GUARD_SCORE)
    scores.record(float("nan"))
    scores.record(float("inf"))
    scores.record_many(np.array([np.nan, -np.inf]))
    assert sum(scores.snapshot().counts) == 0
    assert scores.snapshot().value == 0


def test_a_bucket_has_the_newest_exemplar_and_no_other() -> None:
    duration = HistogramSeries(INFERENCE_DURATION)
    assert duration.snapshot().exemplars == ()
    for at, value in enumerate((0.003, 0.004, 0.05, float("nan"), float("inf"))):
        duration.late.append(value)
        duration.exemplify(value, SpanIds(at, at), float(at))
    series = duration.snapshot()
    assert [(each.value, each.trace[-1]) for each in series.exemplars] == [
        (0.004, "1"),
        (0.05, "2"),
    ]
    assert [series.counts[each.bucket] for each in series.exemplars] == [2, 1]


def test_the_same_attributes_give_the_same_recorder() -> None:
    series = SeriesSet()
    series.sum(GUARD_DECISIONS, guard="schema", action="flag").add(2)
    series.sum(GUARD_DECISIONS, action="flag", guard="schema").add()
    series.gauge(PERFORMANCE_SCORE, metric="accuracy").set(0.5)
    decisions, score = series.snapshot()
    assert decisions.value == 3
    assert decisions.attributes == (("action", "flag"), ("guard", "schema"))
    assert score.attributes == (("metric", "accuracy"),)


def test_gauges_of_what_is_gone_are_dropped_and_totals_stay() -> None:
    series = SeriesSet()
    for version in ("1", "2"):
        series.gauge(QUEUE_ROWS, model="m", version=version).set(3)
        series.sum(RETRIES, model="m", version=version).add()
    series.drop_gauges(model="m", version="1")
    left = [(each.name, dict(each.attributes)["version"]) for each in series.snapshot()]
    assert left == [("vigil.retries", "1"), ("vigil.queue.rows", "2"), ("vigil.retries", "2")]
    assert series.gauge(QUEUE_ROWS, model="m", version="1").snapshot().value == 0


def test_a_metric_has_one_kind() -> None:
    with pytest.raises(ValueError, match=r"vigil\.batch\.rows is a histogram, not a sum"):
        SeriesSet().sum(BATCH_ROWS)


def test_a_series_has_no_attribute_that_its_metric_does_not_declare() -> None:
    series = SeriesSet()
    series.histogram(BATCH_ROWS, model="m")  # one that does not apply may be left out
    with pytest.raises(ValueError, match=r"vigil\.batch\.rows declares no attribute client, user$"):
        series.histogram(BATCH_ROWS, model="m", user="u", client="c")
    assert len(series.snapshot()) == 1


def test_every_metric_is_well_formed() -> None:
    for name, metric in METRICS.items():
        # Those of a process have the names that every Prometheus client gives them, and those of a
        # transport have OpenTelemetry's.
        assert name.startswith(("vigil.", "process.", "http.server.", "rpc.server."))
        assert not name.endswith("total") or metric in (REPLICA_SLOTS_TOTAL, SLO_TOTAL)
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(set(metric.bounds))
    assert LATENCY_BOUNDS_S[0] == 50e-6


def test_recorders_stay_light() -> None:
    code = (
        "import sys, serving.telemetry.counters;"
        "print([m for m in ('starlette', 'uvicorn', 'opentelemetry.sdk', 'torch', 'ray') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
