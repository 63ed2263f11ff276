"""Collectors that are dead, silent, slow or wrong: answers come as ever, and the end is soon."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

BOUND_S = 15.0
"""Five seconds are what a shutdown may take, and this machine may be busy."""


class Moody:
    """A port that does what `how` says: `ok`, `dead`, `silent`, `slow`, `busy` or `garbage`."""

    def __init__(self) -> None:
        self.how = "silent"
        self._ended = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            if self.how == "dead":
                # As a port that nobody listens to: what is written to it is reset.
                connection.close()
                continue
            self._open.append(connection)
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while self.how == "silent" or connection.recv(1 << 16):
                if self.how == "silent":
                    self._ended.wait()
                    return
                if self.how == "ok":
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                elif self.how == "slow":
                    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
                        connection.sendall(bytes([byte]))
                        if self._ended.wait(1):
                            return
                elif self.how == "busy":
                    head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3600\r\n"
                    connection.sendall(head + b"content-length: 0\r\n\r\n")
                else:
                    connection.sendall(b"\x00\xff garbage\r\n" * 10)

    def stop(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()


@pytest.fixture
def collector() -> Iterator[Moody]:
    made = Moody()
    yield made
    made.stop()


def told(log: Path) -> list[str]:
    """Return what the log tells of exports."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["message"] for line in lines if line["event"] == "export_changed"]


def test_bad_collectors_cost_spans_and_lines_and_nothing_else(
    running: Any, make_lab: Callable[..., Path], tmp_path: Path, collector: Moody,
    eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    for kind in ("BSP", "BLRP"):
        monkeypatch.setenv(f"OTEL_{kind}_SCHEDULE_DELAY", "50")
        monkeypatch.setenv(f"OTEL_{kind}_MAX_QUEUE_SIZE", "16")
        monkeypatch.setenv(f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE", "4")
    telemetry = {
        "otlp_endpoint": collector.url,
        "interval_s": 1,
        "traces": {"endpoint": collector.url, "sample_ratio": 1},
        "logs": {"endpoint": collector.url},
    }
    row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, 0, 0, 0]}
    with running(make_lab(), tmp_path, telemetry=telemetry) as instance:

        def ask(times: int) -> None:
            for _ in range(times):
                assert instance.infer("lab", [row], timeout_s=60).status_code == 200

        for how in ("silent", "dead", "slow", "busy", "garbage", "silent"):
            collector.how = how
            before = instance.metric("vigil_telemetry_spans_dropped_total")
            failures = instance.metric("vigil_telemetry_export_failures_total")
            ask(40)
            eventually(
                f"spans that a collector that is {how} did not get",
                lambda before=before: (
                    instance.metric("vigil_telemetry_spans_dropped_total") > before
                ),
            )
            eventually(
                f"metrics that a collector that is {how} did not get",
                lambda failures=failures: (
                    instance.metric("vigil_telemetry_export_failures_total") > failures
                ),
            )
        assert instance.metric("vigil_telemetry_spans_sent_total") == 0
        eventually("lines", lambda: instance.metric("vigil_telemetry_lines_dropped_total") > 0)
        said = told(instance.log)
        for begin in ("exports of traces fail", "exports of metrics to", "more spans wait"):
            assert len([line for line in said if line.startswith(begin)]) == 1, said
        # All is well, and then nothing is answered any more: nobody knows of that at the end.
        collector.how = "ok"
        ask(1)
        eventually("spans", lambda: instance.metric("vigil_telemetry_spans_sent_total") > 0)
        eventually(
            "metrics",
            lambda: any(
                line.startswith("exports of metrics") and line.endswith("work again")
                for line in told(instance.log)
            ),
        )
        collector.how = "silent"
        ask(40)
        instance.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert instance.process.wait(60) == 0
        took = time.monotonic() - started
    said = told(instance.log)
    assert any("spans could not be sent before the end" in line for line in said), said
    assert took < BOUND_S, f"{took:.1f} s; {said}"
