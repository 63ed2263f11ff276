"""OTLP push: what a real collector would decode, and collectors that are not well."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from serving.telemetry.aggregate import merge
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.export.otlp import OtlpPusher
from serving.telemetry.metric import LATENCY_BOUNDS_S
from serving.telemetry.metrics.inference import (
    INFERENCE_DURATION,
    INFERENCE_REQUESTS,
    INFERENCE_ROWS,
    QUEUE_ROWS,
)
from serving.telemetry.metrics.process import TELEMETRY_EXPORT_FAILURES
from serving.telemetry.series import Series
from serving.telemetry.trace_context import SpanIds


class Collector(ThreadingHTTPServer):
    """Keeps what was posted to /v1/metrics."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportMetricsServiceRequest] = []
        self.encodings: list[str | None] = []
        self.arrived = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.encodings.append(self.headers.get("content-encoding"))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            self.server.requests.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200 if self.path == "/v1/metrics" else 404)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.arrived.set()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def collector(http_servers: ModuleType) -> Iterator[Collector]:
    with http_servers.in_thread(Collector()) as server:
        yield server


@pytest.fixture
def failures() -> SumSeries:
    return SumSeries(TELEMETRY_EXPORT_FAILURES)


def sample() -> SeriesSet:
    series = SeriesSet()
    series.sum(INFERENCE_REQUESTS, model="m", outcome="ok").add(7)
    series.gauge(QUEUE_ROWS, model="m").set(3)
    duration = series.histogram(INFERENCE_DURATION, model="m")
    duration.record(0.003)
    duration.exemplify(0.003, SpanIds(7, 8), 1_700_000_000.5)
    return series


def test_a_collector_decodes_what_was_offered(collector: Collector, failures: SumSeries) -> None:
    pusher = OtlpPusher(collector.url, 1_000, failures)
    pusher.start()
    pusher.offer(merge(sample().snapshot()))
    pusher.stop()

    (resource,) = collector.requests[0].resource_metrics
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes["service.name"] == "vigil"
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    requests = metrics["vigil.inference.requests"]
    assert requests.unit == "{request}"
    assert requests.sum.is_monotonic
    assert requests.sum.aggregation_temporality == 2  # cumulative
    assert requests.sum.data_points[0].as_double == 7
    assert requests.sum.data_points[0].start_time_unix_nano == 1_000
    assert metrics["vigil.queue.rows"].gauge.data_points[0].as_double == 3
    (point,) = metrics["vigil.inference.duration"].histogram.data_points
    assert point.count == 1
    assert point.sum == 0.003
    assert list(point.explicit_bounds) == list(LATENCY_BOUNDS_S)
    assert not point.HasField("min")
    (exemplar,) = point.exemplars
    assert (exemplar.as_double, exemplar.time_unix_nano) == (0.003, 1_700_000_000_500_000_000)
    assert int.from_bytes(exemplar.trace_id, "big") == 7
    assert int.from_bytes(exemplar.span_id, "big") == 8
    assert failures.value == 0


def test_a_dead_collector_costs_a_counted_failure(failures: SumSeries) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pusher = OtlpPusher(f"http://127.0.0.1:{port}", 1, failures, timeout_s=300)
    pusher.start()
    started = time.monotonic()
    pusher.offer(sample().snapshot())
    pusher.stop(timeout_s=1)
    assert time.monotonic() - started < 60
    pusher._thread.join(60)
    assert failures.value == 1


def test_a_silent_collector_delays_neither_offer_nor_stop(failures: SumSeries) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        pusher = OtlpPusher(f"http://127.0.0.1:{port}", 1, failures, timeout_s=300)
        pusher.start()
        started = time.monotonic()
        for _ in range(100):
            pusher.offer(sample().snapshot())
        pusher.stop(timeout_s=1)
        assert time.monotonic() - started < 60
    pusher._thread.join(60)  # it ends now that nobody listens any more
    assert 1 <= failures.value <= 2


def test_only_the_newest_offer_is_kept(collector: Collector, failures: SumSeries) -> None:
    pusher = OtlpPusher(collector.url, 1, failures)
    series = sample()
    for _ in range(5):
        series.sum(INFERENCE_ROWS).add(1)
        pusher.offer(merge(series.snapshot()))
    pusher.start()
    assert collector.arrived.wait(60)
    pusher.stop()
    assert len(collector.requests) == 1
    metrics = collector.requests[0].resource_metrics[0].scope_metrics[0].metrics
    (rows,) = [metric for metric in metrics if metric.name == "vigil.inference.rows"]
    assert rows.sum.data_points[0].as_double == 5


def test_what_cannot_be_sent_at_the_end_is_told(
    unanswered: str, failures: SumSeries, caplog: pytest.LogCaptureFixture
) -> None:
    url = unanswered.replace("://", "://me:secret@")
    pusher = OtlpPusher(url, 1, failures, timeout_s=300)
    pusher.start()
    pusher.offer(sample().snapshot())
    pusher.stop(timeout_s=0.1)
    pusher._thread.join(60)  # it is not left behind, although nobody answers
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"the last metrics could not be sent to {unanswered}/v1/metrics before the end"]
    assert failures.value == 1


def test_an_export_that_raises_has_failed_and_the_next_one_works(
    collector: Collector,
    failures: SumSeries,
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pusher = OtlpPusher(f"{collector.url}/v1/metrics/", 1, failures)
    pusher.start()
    broken = Series("vigil.broken", "histogram", "s", (("model", "m"),), 1.0, (), None)  # type: ignore[arg-type]
    pusher.offer([broken])
    wait_until(lambda: failures.value == 1)
    pusher.offer(merge(sample().snapshot()))
    pusher.stop()
    assert len(collector.requests) == 1
    url = f"{collector.url}/v1/metrics"
    assert [record.getMessage() for record in caplog.records] == [
        f"exports of metrics to {url} fail; they are counted and retried",
        f"exports of metrics to {url} work again",
    ]


def test_variables_are_read_as_those_of_other_exporters(
    collector: Collector,
    failures: SumSeries,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION"
    monkeypatch.setenv(name, "zstd")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    pusher = OtlpPusher(collector.url, 1, failures)
    pusher.start()
    pusher.offer(merge(sample().snapshot()))
    pusher.stop()
    assert collector.encodings == ["gzip"]
    assert f"{name} is 'zstd', which is ignored" in caplog.text
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")
    with pytest.raises(ValueError, match=r"CERTIFICATE names ./nowhere/ca\.pem., which cannot be"):
        OtlpPusher(collector.url, 1, failures)
