"""Sending spans: what a real receiver decodes, and receivers that are not well."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from serving.config import Traces
from serving.config.traces import trace_settings
from serving.telemetry.collector import Protocol, for_exporter
from serving.telemetry.counters import SeriesSet
from serving.telemetry.export.span_exporter import open_exporter
from serving.telemetry.export.spans import SpanExport
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

HTTP: Protocol = "http/protobuf"
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
    export.add(span())
    dropped = {"dropped/queue_full": 0, "dropped/not_exported": 0, "dropped/stopped": 1}
    assert counted(series) == {"sent": 2, **dropped}


def test_the_environment_names_the_receiver(receiver: Any, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    export = SpanExport(open_exporter(None, HTTP), SeriesSet())
    export.add(span())
    export.stop()
    assert len(receiver.spans) == 1


def test_spans_go_over_grpc(grpc_receiver: Any, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", grpc_receiver.url)
    variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    variables.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    variables.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=blue")
    variables.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "")
    variables.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    settings = trace_settings(Traces(), os.environ)
    assert settings is not None
    series = SeriesSet()
    export = SpanExport(open_exporter(settings.endpoint, settings.protocol), series)
    export.add(span(links=(SpanIds(5, 6),)))
    export.stop(timeout_s=60)
    (received,) = grpc_receiver.spans
    assert received.name == "step"
    assert [link.span_id for link in received.links] == [(6).to_bytes(8, "big")]
    assert grpc_receiver.metadata[0]["x-tenant"] == "blue"
    assert counted(series)["sent"] == 1


def test_compressed_spans_take_less_of_the_wire(
    grpc_receiver: Any, variables: pytest.MonkeyPatch, relayed: Callable[[int], Any]
) -> None:
    attributes = {"text": "y" * 1_000_000}
    carried = []
    for compression in ("none", "gzip"):
        variables.setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", compression)
        relay = relayed(grpc_receiver.port)
        export = SpanExport(open_exporter(relay.url, "grpc"), SeriesSet())
        export.add(Span("big", SpanIds(1, 2), 5, 6, attributes))
        export.stop(timeout_s=60)
        carried.append(relay.carried)
    assert len(grpc_receiver.spans) == 2
    assert carried[0] > 1_000_000
    assert carried[1] < 100_000


def test_a_collector_is_trusted_by_the_certificate_that_variables_name(
    secure_receiver: Any, certificate: Path, variables: pytest.MonkeyPatch
) -> None:
    pem, key = str(certificate / "server.pem"), str(certificate / "server.key")
    series = SeriesSet()
    export = SpanExport(open_exporter(secure_receiver.url, "grpc"), series)
    export.add(span())
    export.stop(timeout_s=0.5)
    assert counted(series)["dropped/not_exported"] == 1
    variables.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", pem)
    variables.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
    variables.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", pem)
    export = SpanExport(open_exporter(secure_receiver.url, "grpc"), series)
    export.add(span())
    export.stop(timeout_s=60)
    assert counted(series)["sent"] == 1
    assert len(secure_receiver.spans) == 1


def stopped_in_time(export: SpanExport, timeout_s: float = 1.0) -> None:
    """Stop, and see that it took no longer than a busy machine explains."""
    started = time.monotonic()
    export.stop(timeout_s)
    assert time.monotonic() - started < timeout_s + 30


@pytest.mark.parametrize("protocol", [HTTP, "grpc"])
def test_a_dead_receiver_costs_spans_that_are_counted(
    free_port: int,
    protocol: Protocol,
    wait_until: Callable[..., None],
    variables: pytest.MonkeyPatch,
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


HOW = [
    "never_reads", "reads_slowly", "answers_slowly", "body_comes_slowly", "answers_garbage",
    "has_no_time",
]  # fmt: skip


@pytest.mark.parametrize("protocol", [HTTP, "grpc"])
@pytest.mark.parametrize("how", [*HOW, "unanswered"])
def test_a_bad_collector_delays_neither_add_nor_stop(
    bad_collector: Callable[[str], Any], unanswered: str, how: str, protocol: Protocol,
    variables: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    variables.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    variables.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    series = SeriesSet()
    url = unanswered if how == "unanswered" else bad_collector(how).url
    export = SpanExport(
        open_exporter(for_exporter(url, protocol, "traces"), protocol), series, most_waiting=8
    )
    big = {"text": "y" * 500_000}  # more than the kernel's buffers take
    for number in range(1, 31):
        export.add(Span("step", SpanIds(7, number), 5, 6, big))
    stopped_in_time(export)
    found = counted(series)
    assert found["sent"] == 0
    # It is all accounted for when it has stopped, and the log tells of it once.
    assert sum(found.values()) == 30
    said = [record.getMessage() for record in caplog.records]
    told = [line for line in said if "spans are dropped and counted" in line]
    assert told
    assert len(told) == len(set(told))


def test_an_export_that_takes_too_long_is_given_up(
    bad_collector: Callable[[str], Any], wait_until: Callable[..., None],
    variables: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    variables.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2")
    series = SeriesSet()
    url = bad_collector("answers_slowly").url
    export = SpanExport(open_exporter(f"{url}/v1/traces", HTTP), series)
    export.add(span())
    wait_until(lambda: counted(series)["dropped/not_exported"] == 1)
    export.stop()


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
