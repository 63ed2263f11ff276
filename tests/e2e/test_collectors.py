"""Collectors that are dead, silent, slow or wrong: answers come as ever, and the end is soon."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

BOUND_S = 15.0
"""Five seconds are what a shutdown may take, and this machine may be busy."""


def told(log: Path) -> list[str]:
    """Return what the log tells of exports."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["message"] for line in lines if line["event"] == "export_changed"]


def test_bad_collectors_cost_spans_and_lines_and_nothing_else(
    running: Any, make_lab: Callable[..., Path], tmp_path: Path, bad_collector: Any,
    eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    collector = bad_collector("never_reads")
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

        for how in ("never_reads", "leaves", "answers_slowly", "has_no_time", "answers_garbage",
                    "never_reads"):  # fmt: skip
            collector.become(how)
            before = instance.metric("vigil_telemetry_spans_dropped_total")
            failures = instance.metric("vigil_telemetry_export_failures_total")
            ask(40)
            eventually(
                f"spans that a collector that {how} did not get",
                lambda before=before: (
                    instance.metric("vigil_telemetry_spans_dropped_total") > before
                ),
            )
            eventually(
                f"metrics that a collector that {how} did not get",
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
        collector.become("is_well")
        ask(1)
        eventually("spans", lambda: instance.metric("vigil_telemetry_spans_sent_total") > 0)
        eventually(
            "metrics",
            lambda: any(
                line.startswith("exports of metrics") and line.endswith("work again")
                for line in told(instance.log)
            ),
        )
        collector.become("never_reads")
        ask(40)
        instance.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert instance.process.wait(60) == 0
        took = time.monotonic() - started
    said = told(instance.log)
    assert any("spans could not be sent before the end" in line for line in said), said
    assert took < BOUND_S, f"{took:.1f} s; {said}"
