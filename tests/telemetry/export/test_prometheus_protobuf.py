"""The protobuf exposition, read back with the messages as Prometheus declares them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]
from google.protobuf.unknown_fields import UnknownFieldSet

from serving.telemetry.aggregate import merge
from serving.telemetry.counters import SeriesSet
from serving.telemetry.exponential import ZERO_THRESHOLD
from serving.telemetry.export.prometheus_protobuf import prometheus_protobuf
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_DURATION,
    INFERENCE_REQUESTS,
    QUEUE_ROWS,
    SLO_TOTAL,
)
from serving.telemetry.series import Series
from serving.telemetry.trace_context import SpanIds

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "io.prometheus.client"
MESSAGES = {
    "LabelPair": {"name": (1, "string"), "value": (2, "string")},
    "Gauge": {"value": (1, "double")},
    "Counter": {"value": (1, "double")},
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "Exemplar": {"label": (1, "*LabelPair"), "value": (2, "double"), "timestamp": (3, "Timestamp")},
    "Bucket": {"cumulative_count": (1, "uint64"), "upper_bound": (2, "double"),
               "exemplar": (3, "Exemplar")},
    "BucketSpan": {"offset": (1, "sint32"), "length": (2, "uint32")},
    "Histogram": {"sample_count": (1, "uint64"), "sample_sum": (2, "double"),
                  "bucket": (3, "*Bucket"), "schema": (5, "sint32"),
                  "zero_threshold": (6, "double"), "zero_count": (7, "uint64"),
                  "positive_span": (12, "*BucketSpan"), "positive_delta": (13, "*sint64")},
    "Metric": {"label": (1, "*LabelPair"), "gauge": (2, "Gauge"), "counter": (3, "Counter"),
               "histogram": (7, "Histogram")},
    "MetricFamily": {"name": (1, "string"), "help": (2, "string"), "type": (3, "int32"),
                     "metric": (4, "*Metric")},
}  # fmt: skip


@pytest.fixture(scope="module")
def family() -> Any:
    """The class of `MetricFamily`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=PACKAGE, syntax="proto2"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=Field.LABEL_OPTIONAL)
            if kind.startswith("*"):
                added.label = Field.LABEL_REPEATED
                kind = kind[1:]
            if kind in MESSAGES:
                added.type, added.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                added.type = getattr(Field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily")
    return message_factory.GetMessageClass(descriptor)


def read(family: Any, series: Any) -> dict[str, Any]:
    data, at, found = prometheus_protobuf(series), 0, {}
    while at < len(data):
        size, at = _DecodeVarint(data, at)
        one = family.FromString(data[at : at + size])
        assert not len(UnknownFieldSet(one))
        found[one.name] = one
        at += size
    return found


def labels(metric: Any) -> dict[str, str]:
    return {pair.name: pair.value for pair in metric.label}


def test_sums_gauges_and_fixed_buckets(family: Any) -> None:
    series = SeriesSet()
    series.sum(INFERENCE_REQUESTS, model='ä"\n', outcome="ok").add(300)
    series.sum(SLO_TOTAL).add(2)
    series.gauge(QUEUE_ROWS, model="m").set(-0.5)
    rows = series.histogram(BATCH_ROWS)
    for value in (1, 2, 2, 5000):
        rows.record(value)
    found = read(family, merge(series.snapshot()))
    requests = found["vigil_inference_requests_total"]
    assert requests.type == 0
    assert requests.help == INFERENCE_REQUESTS.description
    assert requests.metric[0].counter.value == 300
    assert labels(requests.metric[0]) == {"model": 'ä"\n', "outcome": "ok"}
    assert found["vigil_slo_total"].metric[0].counter.value == 2
    assert (found["vigil_queue_rows"].type, found["vigil_queue_rows"].metric[0].gauge.value) == (
        1, -0.5,
    )  # fmt: skip
    histogram = found["vigil_batch_rows"].metric[0].histogram
    assert found["vigil_batch_rows"].type == 4
    assert (histogram.sample_count, histogram.sample_sum) == (4, 5005)
    assert [bucket.cumulative_count for bucket in histogram.bucket][:3] == [1, 3, 3]
    assert histogram.bucket[-1].upper_bound == float("inf")
    assert not histogram.HasField("schema")  # its buckets are powers of two and hold everything


def test_durations_are_native_histograms_too(family: Any) -> None:
    series = SeriesSet()
    duration = series.histogram(INFERENCE_DURATION, model="m", outcome="ok")
    for value in (0.0, 0.25, 0.25, 0.26, 0.5, 8.0):
        duration.record(value)
    duration.exemplify(0.25, SpanIds(7, 8), 1_700_000_000.5)
    found = read(family, merge(series.snapshot()))["vigil_inference_duration_seconds"]
    histogram = found.metric[0].histogram
    assert histogram.sample_count == 6
    assert (histogram.schema, histogram.zero_count) == (3, 1)
    assert histogram.zero_threshold == ZERO_THRESHOLD
    # Buckets -16, -15, -8 and 24: three spans, each told by its distance from the end of the last.
    assert [(span.offset, span.length) for span in histogram.positive_span] == [
        (-16, 2), (6, 1), (31, 1),
    ]  # fmt: skip
    assert list(histogram.positive_delta) == [2, -1, 0, 0]
    (shown,) = [bucket.exemplar for bucket in histogram.bucket if bucket.HasField("exemplar")]
    assert shown.value == 0.25
    assert {pair.name: pair.value for pair in shown.label} == {
        "trace_id": f"{7:032x}", "span_id": f"{8:016x}",
    }  # fmt: skip
    assert (shown.timestamp.seconds, shown.timestamp.nanos) == (1_700_000_000, 500_000_000)


def test_an_empty_duration_is_native_already(family: Any) -> None:
    series = SeriesSet()
    series.histogram(INFERENCE_DURATION, model="m")
    found = read(family, series.snapshot())["vigil_inference_duration_seconds"]
    assert found.metric[0].histogram.zero_threshold > 0


def test_every_metric_and_one_that_nobody_described(family: Any) -> None:
    series = SeriesSet()
    make = {"sum": series.sum, "gauge": series.gauge, "histogram": series.histogram}
    for metric in METRICS.values():
        make[metric.kind](metric, **dict.fromkeys(metric.labels, "x"))
    stranger = Series("other.size", "histogram", "By", (("a.b", "c"),), 2.0, (1.0,), (0, 1))
    found = read(family, [*merge(series.snapshot()), stranger])
    assert len(found) == len(METRICS) + 1
    assert labels(found["other_size_bytes"].metric[0]) == {"a_b": "c"}
