"""Sending spans: what a real receiver decodes, and receivers that are not well."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from serving.telemetry.counters import SeriesSet
from serving.telemetry.export.spans import SpanExport, open_exporter
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

HTTP = "http/protobuf"
Series = dict[str, float]


def span(number: int = 1, **more: Any) -> Span:
    return Span("step", SpanIds(7 << 64 | 9, number), 1_000, 2_000, {"vigil.rows": 3}, **more)


def counted(series: SeriesSet) -> Series:
    return {
        "/".join([each.name.rpartition(".")[2], *(value for _, value in each.attributes)]): (
            each.value
        )
        for each in series.snapshot()
    }


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    return monkeypatch


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_receiver_decodes_what_was_added(
    receiver: Any, attributes_of: Callable[..., Any], variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    variables.setenv("OTEL_SERVICE_NAME", "gatekeeper")
    variables.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
    series = SeriesSet()
    export = SpanExport(open_exporter(f"{receiver.url}/v1/traces", HTTP), series)
    linked = SpanIds(5, 6)
    export.add(span(2, kind="server", links=(linked,), failed=True))
    export.add(Span("root", SpanIds(1, 2, 3), 5, 6, {"a": ("x", "y"), "b": 0.5}, remote=True))
    export.stop()

    first, second = receiver.spans
    assert first.trace_id == (7 << 64 | 9).to_bytes(16, "big")
    assert (first.span_id, first.parent_span_id) == ((2).to_bytes(8, "big"), b"")
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (1_000, 2_000)
    assert (first.kind, first.status.code) == (Received.SPAN_KIND_SERVER, Status.STATUS_CODE_ERROR)
    assert [link.span_id for link in first.links] == [(6).to_bytes(8, "big")]
    assert attributes_of(first) == {"vigil.rows": 3}
    assert second.parent_span_id == (3).to_bytes(8, "big")
    assert attributes_of(second) == {"a": ["x", "y"], "b": 0.5}
    assert second.status.code == Status.STATUS_CODE_UNSET
    resource = receiver.requests[0].resource_spans[0].resource
    told = {item.key: item.value.string_value for item in resource.attributes}
    assert told["service.name"] == "gatekeeper"
    assert told["deployment.environment.name"] == "test"
    assert receiver.headers[0]["x-tenant"] == "blue"
    assert counted(series) == {"sent": 2, "dropped/queue_full": 0, "dropped/not_exported": 0}


def test_the_environment_names_the_receiver(receiver: Any, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    export = SpanExport(open_exporter(None, HTTP), SeriesSet())
    export.add(span())
    export.stop()
    assert len(receiver.spans) == 1


@pytest.fixture
def grpc_receiver() -> Iterator[tuple[str, list[Any]]]:
    taken: list[Any] = []

    class Servicer(pb_grpc.TraceServiceServicer):
        def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
            taken.append(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    pb_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", taken
    server.stop(None).wait()


def test_spans_go_over_grpc(
    grpc_receiver: tuple[str, list[Any]], variables: pytest.MonkeyPatch
) -> None:
    url, taken = grpc_receiver
    series = SeriesSet()
    export = SpanExport(open_exporter(url, "grpc"), series)
    export.add(span())
    export.stop(timeout_s=60)
    assert taken[0].resource_spans[0].scope_spans[0].spans[0].name == "step"
    assert counted(series)["sent"] == 1


def stopped_in_time(export: SpanExport, timeout_s: float = 1.0) -> None:
    """Stop, and see that it took no longer than a busy machine explains."""
    started = time.monotonic()
    export.stop(timeout_s)
    assert time.monotonic() - started < timeout_s + 30


@pytest.mark.parametrize("protocol", [HTTP, "grpc"])
def test_a_dead_receiver_costs_spans_that_are_counted(
    free_port: int, protocol: str, wait_until: Callable[..., None], variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    series = SeriesSet()
    url = f"http://127.0.0.1:{free_port}" + ("/v1/traces" if protocol == HTTP else "")
    export = SpanExport(open_exporter(url, protocol), series)
    for number in range(1, 6):
        export.add(span(number))
    stopped_in_time(export)
    wait_until(lambda: counted(series)["dropped/not_exported"] == 5)
    assert counted(series)["sent"] == 0


def test_a_silent_receiver_delays_neither_add_nor_stop(
    wait_until: Callable[..., None], variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    variables.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    series = SeriesSet()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        export = SpanExport(open_exporter(url, HTTP), series, most_waiting=8)
        for number in range(1, 101):
            export.add(span(number))
        # One or two are on their way, eight wait, and the rest is dropped at once.
        assert counted(series)["dropped/queue_full"] >= 100 - 10
        stopped_in_time(export)
    wait_until(lambda: sum(counted(series).values()) == 100)
    assert counted(series)["sent"] == 0


def test_a_receiver_that_is_back_gets_spans_again(
    receiver: Any,
    wait_until: Callable[..., None],
    variables: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    series = SeriesSet()
    export = SpanExport(open_exporter(f"{receiver.url}/v1/traces", HTTP), series)
    receiver.status = 400  # which is not tried again
    for number in (1, 2):
        export.add(span(number))
        wait_until(lambda: counted(series)["dropped/not_exported"] == number)  # noqa: B023
    receiver.status = 200
    export.add(span(3))
    wait_until(lambda: counted(series)["sent"] == 1)
    export.stop()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if line.startswith("exports of traces")] == [
        "exports of traces fail; spans are dropped and counted",
        "exports of traces work again",
    ]


def test_threads_end_with_it(receiver: Any, variables: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    export = SpanExport(open_exporter(f"{receiver.url}/v1/traces", HTTP), SeriesSet())
    export.stop()
    for thread in set(threading.enumerate()) - before:
        if "Otel" in thread.name:
            thread.join(60)
            assert not thread.is_alive()


def test_a_gateway_that_does_not_trace_does_not_read_the_sdk() -> None:
    code = (
        "import os, sys\n"
        "from serving.config import Traces\n"
        "from serving.gateway.tracing import GatewayTracing\n"
        "from serving.telemetry.counters import SeriesSet\n"
        "import serving.gateway.app\n"
        "assert GatewayTracing(Traces(), {}).start(SeriesSet()) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
