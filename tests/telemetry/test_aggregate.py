"""Merging series of several processes."""

from __future__ import annotations

import msgspec
import numpy as np

from serving.telemetry.aggregate import less, merge, series_key
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.events import MONITOR_LAG
from serving.telemetry.metrics.findings import DRIFT_SCORE
from serving.telemetry.metrics.inference import INFERENCE_DURATION, INFERENCE_ROWS, QUEUE_ROWS
from serving.telemetry.series import Series
from serving.telemetry.trace_context import SpanIds


def snapshot(rows: float, lag: float, score: float, seconds: float) -> tuple[Series, ...]:
    series = SeriesSet()
    series.sum(INFERENCE_ROWS, model="m").add(rows)
    series.gauge(QUEUE_ROWS, model="m").set(rows)
    series.gauge(MONITOR_LAG).set(lag)
    series.gauge(DRIFT_SCORE, model="m").set(score)
    series.histogram(INFERENCE_DURATION, model="m").record(seconds)
    return series.snapshot()


def test_each_metric_merges_in_its_way() -> None:
    merged = {item.name: item for item in merge([*snapshot(3, 9, 0.1, 1), *snapshot(4, 2, 0.2, 3)])}
    assert merged["vigil.inference.rows"].value == 7
    assert merged["vigil.queue.rows"].value == 7
    assert merged["vigil.monitor.lag"].value == 9
    assert merged["vigil.drift.score"].value == 0.2
    assert merged["vigil.inference.duration"].value == 4
    assert sum(merged["vigil.inference.duration"].counts) == 2


def test_only_equal_identities_merge() -> None:
    one = Series("a", "histogram", "s", (), 1.0, (1.0,), (1, 0))
    other_bounds = Series("a", "histogram", "s", (), 1.0, (2.0,), (1, 0))
    other_attributes = Series("a", "histogram", "s", (("model", "m"),), 1.0, (1.0,), (1, 0))
    assert len(merge([one, other_bounds, other_attributes, one])) == 3


def test_unknown_gauges_take_the_last_and_order_is_by_name() -> None:
    merged = merge([Series("z", "gauge", "1", (), 5.0), Series("a", "sum", "1", (), 1.0)])
    assert [series_key(item)[0] for item in merged] == ["a", "z"]
    (last,) = merge([Series("z", "gauge", "1", (), value) for value in (5.0, 2.0)])
    assert last.value == 2


def test_of_two_processes_the_newer_exemplar_of_a_bucket_stays() -> None:
    first, second = SeriesSet(), SeriesSet()
    for series, value, time in (
        (first, 0.003, 1.0), (second, 0.004, 2.0), (first, 0.03, 4.0), (second, 0.04, 3.0),
    ):  # fmt: skip
        duration = series.histogram(INFERENCE_DURATION, model="m")
        duration.record(value)
        duration.exemplify(value, SpanIds(7, 8), time)
    for order in ((first, second), (second, first)):
        (merged,) = merge([one for series in order for one in series.snapshot()])
        assert sorted(each.value for each in merged.exemplars) == [0.003 + 0.001, 0.03]
        assert all(merged.counts[each.bucket] == 2 for each in merged.exemplars)
    alone = merge([*first.snapshot(), *SeriesSet().snapshot()])
    assert len(alone[0].exemplars) == 2
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(merged), type=Series) == merged


def test_a_part_and_what_is_beside_it_make_the_whole() -> None:
    def measured(*values: float) -> Series:
        series = SeriesSet()
        series.histogram(INFERENCE_DURATION).record_many(np.array(values))
        return series.snapshot()[0]

    part, rest = measured(0.0, 0.25, 3.0), measured(0.0, 0.25, 0.5)
    (whole,) = merge([part, rest])
    assert less(whole, part) == rest
    assert less(whole, None) == whole
    nothing = less(part, whole)
    assert (nothing.value, sum(nothing.counts), nothing.exponential) == (0, 0, ())
