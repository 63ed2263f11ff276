"""Sending lines of the log: what a real receiver decodes, and receivers that are not well."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.telemetry.collector import Protocol, for_exporter
from serving.telemetry.logs.collected import Collector, collector_of
from serving.telemetry.logs.collector_handler import CollectorHandler, open_exporter
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.lines import Lines
from serving.telemetry.logs.report import FIELDS, Reporter, report, use
from serving.telemetry.logs.unsent import unsent_lines
from serving.telemetry.trace_context import SpanIds

WAIT_S = 60


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], CollectorHandler]]:
    """Has lines of this process sent to a receiver; each cause may write as often as it likes."""
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
    logger, handlers = logging.getLogger("vigil"), []
    level, before = logger.level, use(Reporter())
    logger.setLevel(logging.INFO)

    def send(url: str, protocol: Protocol = "http/protobuf") -> CollectorHandler:
        exporter = open_exporter(Collector(for_exporter(url, protocol, "logs"), protocol))
        handler = CollectorHandler(exporter, Lines("replica", "iris", "3"))
        logger.addHandler(handler)
        handlers.append(handler)
        return handler

    yield send
    for handler in handlers:
        logger.removeHandler(handler)
        handler.stop(0.1)
    logger.setLevel(level)
    use(before)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_receiver_decodes_a_line(
    receiver: Any, sending: Any, attributes_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What pytest captures of the log goes from a worker to its parent as UTF-8.
    monkeypatch.setattr(logging.getLogger("vigil"), "propagate", False)
    handler = sending(receiver.url)
    before, secret = time.time_ns(), str(4700 + 11)
    try:
        raise ValueError(f"Anna {secret}")
    except ValueError as error:
        report(
            Event.MODEL_FAILED, "it failed \ud800", request_id="r-1", span=SpanIds(7, 8),
            error=error, status=500, names=["a"], nothing=None,
        )  # fmt: skip
    logging.getLogger("vigil").warning("of a library, that comes again once it may")
    handler.stop()
    (record,) = receiver.lines
    assert (record.event_name, record.severity_text) == ("model_failed", "ERROR")
    assert record.severity_number == 17
    assert record.body.string_value == "it failed \\ud800"
    assert int.from_bytes(record.trace_id, "big") == 7
    assert int.from_bytes(record.span_id, "big") == 8
    assert abs(record.time_unix_nano - before) < 60e9
    found = attributes_of(record)
    assert secret not in str(record)
    assert found.pop("exception.stacktrace").startswith("Traceback")
    assert found.pop("vigil.location").startswith("test_collector_handler.py")
    assert found == {
        "vigil.model": "iris",
        "vigil.version": "3",
        "vigil.request.id": "r-1",
        "vigil.status": 500,
        "vigil.names": "['a']",
        "vigil.role": "replica",
        "vigil.logger": "vigil",
        "process.pid": os.getpid(),
        "error.type": "ValueError",
    }
    resource = receiver.log_requests[0].resource_logs[0].resource
    assert {"service.name", "service.version"} <= {item.key for item in resource.attributes}


def test_lines_go_over_grpc(
    grpc_receiver: Any, relayed: Any, sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relayed(grpc_receiver.port)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", relay.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-tenant=blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "gzip")
    where = collector_of(os.environ)
    assert where is not None
    handler = CollectorHandler(open_exporter(where), Lines("replica", "iris", "3"))
    record = logging.LogRecord("vigil", logging.ERROR, "", 1, "y" * 1_000_000, (), None)
    setattr(record, FIELDS, {"event": "model_failed"})
    handler.emit(record)
    handler.stop(60)
    (line,) = grpc_receiver.lines
    assert line.event_name == "model_failed"
    assert grpc_receiver.metadata[0]["x-tenant"] == "blue"
    assert relay.carried < 100_000


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("how", ["never_reads", "answers_slowly", "answers_garbage"])
def test_lines_that_no_collector_gets_are_counted(
    bad_collector: Any, sending: Any, how: str, protocol: Protocol,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "2")
    before, lines = unsent_lines.count, list[str]()
    logger = logging.getLogger("vigil")
    logger.addHandler(listener := _Listener(lines))
    try:
        handler = sending(bad_collector(how).url, protocol)
        for number in range(30):
            report(Event.SERVER_READY, f"{number} is ready", model=str(number))
        handler.stop(0.5)
    finally:
        logger.removeHandler(listener)
    # Those about exports are lines as well.
    assert unsent_lines.count - before == len(lines) >= 31
    assert len([line for line in lines if line.startswith("exports of the log")]) <= 1


def test_a_receiver_that_comes_back_gets_what_follows(receiver: Any, sending: Any) -> None:
    receiver.status = 400  # which is not tried again
    sending(receiver.url)
    report(Event.SERVER_READY, "lost")
    told = logging.getLogger("vigil")
    lines: list[str] = []
    told.addHandler(listener := _Listener(lines))
    try:
        report(Event.SERVER_READY, "lost as well")
        wait_until(lambda: any("fail" in line for line in lines))
        receiver.status = 200
        wait_until(lambda: report(Event.SERVER_READY, "kept") or receiver.lines)
        wait_until(lambda: any("work again" in line for line in lines))
    finally:
        told.removeHandler(listener)


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@pytest.mark.parametrize("silent", [False, True])
def test_a_receiver_that_is_away_holds_nobody_up(sending: Any, silent: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        if not silent:
            server.close()
        port = server.getsockname()[1] if silent else _free_port()
        handler = sending(f"http://127.0.0.1:{port}")
        for number in range(5000):  # more than may wait
            report(Event.SERVER_READY, "ready", number=number)
        started = time.monotonic()
        handler.stop(1.0)
        # 1 s, and a busy machine; its own retries would take 10 s and its shutdown 30.
        assert time.monotonic() - started < 9


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


CODE = """
import sys
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import configure

configure("gateway", "json", collector=(sys.argv[1], sys.argv[3]), sends=sys.argv[2] == "yes")
for number in range(8):
    report(Event.PROCESS_ENDED, "it ended", number=number)
"""


@pytest.mark.parametrize("sends", ["yes", "no"])
def test_a_process_sends_the_lines_that_it_writes(
    receiver: Any, attributes_of: Any, sends: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, receiver.url, sends, "http/protobuf"],
        capture_output=True, text=True, check=True, timeout=WAIT_S,
    )  # fmt: skip
    written = [json.loads(line) for line in done.stderr.splitlines()]
    assert written
    wanted = [(line["number"], line.get("suppressed")) for line in written]
    found = [attributes_of(record) for record in receiver.lines]
    sent = [(one["vigil.number"], one.get("vigil.suppressed")) for one in found]
    assert sent == (wanted if sends == "yes" else [])


def test_standard_error_has_lines_and_nothing_else(secure_receiver: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, secure_receiver.url, "yes", "grpc"],
        capture_output=True, text=True, check=True, timeout=WAIT_S,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("could not be sent before the end" in line["message"] for line in lines)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_process_whose_receiver_is_dead_ends_in_time(protocol: Protocol) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CODE, f"http://127.0.0.1:{_free_port()}", "yes", protocol],
        capture_output=True, text=True, check=True, timeout=WAIT_S,
    )  # fmt: skip
    assert time.monotonic() - started < 30
    events = {json.loads(line)["event"] for line in done.stderr.splitlines()}
    assert "process_ended" in events


def test_nobody_reads_the_library_who_sends_nothing() -> None:
    code = (
        "import sys; from serving.telemetry.logs.setup import configure; configure('gateway');"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean
    )
    assert done.stdout.strip() == "[]"
