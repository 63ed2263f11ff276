"""Traces from real gateways to a real receiver: over both transports and two servers, embedded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from serving.embedded import Vigil
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
ROW = [0.5, 0.0, 0.0, 0.0]
HTTP = "POST /v2/models/{model_name}[/versions/{model_version}]/infer"
GRPC = "inference.GRPCInferenceService/ModelInfer"


def traceparent(trace: int, flags: int = 1) -> str:
    return f"00-{trace:032x}-{7:016x}-{flags:02x}"


def ask_http(instance: Any, model: str, trace: int, flags: int = 1, **more: Any) -> int:
    row, name = more.get("row", ROW), more.get("name", "x")
    inputs = [{"name": name, "datatype": "FP32", "shape": [1, 4], "data": row}]
    return httpx.post(
        f"{instance.url}/v2/models/{model}/infer",
        content=json.dumps({"id": f"r{trace:x}", "inputs": inputs}),
        headers={"traceparent": traceparent(trace, flags)},
        timeout=60,
    ).status_code


def ask_grpc(instance: Any, model: str, trace: int) -> None:
    request = pb.ModelInferRequest(model_name=model, id="over-grpc")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.float32(ROW).tobytes())
    with grpc.insecure_channel(instance.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(request, metadata=(("traceparent", traceparent(trace)),), timeout=60)


class Trace:
    """The spans of one trace as they were received, by name."""

    def __init__(self, receiver: Any, trace: int) -> None:
        ident = trace.to_bytes(16, "big")
        self.spans = [span for span in receiver.spans if span.trace_id == ident]

    def of(self, name: str, *, parent: bytes | None = None) -> Any:
        [found] = [
            span
            for span in self.spans
            if span.name == name and parent in (None, span.parent_span_id)
        ]
        return found

    def __len__(self) -> int:
        return len(self.spans)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch, receiver: Any) -> dict[str, Any]:
    """What an instance is configured with to send its traces here, soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    return {"telemetry": {"traces": {"endpoint": receiver.url, "sample_ratio": 0}}}


def test_a_trace_passes_two_servers(
    running: Any, make_lab: Any, tmp_path: Path, receiver: Any, traced: dict[str, Any],
    eventually: Any, attributes_of: Callable[[Any], dict[str, Any]],
) -> None:  # fmt: skip
    models = make_lab()
    behind, front = tmp_path / "behind", tmp_path / "front"
    for folder in (behind, front):
        folder.mkdir()
    lab = yaml.safe_load((models / "lab" / "model.yaml").read_text())
    with running(models, behind, **traced) as other:
        for name, url in (("far", other.url), ("far-grpc", f"grpc://{other.grpc}")):
            (tmp_path / "models" / name).mkdir(parents=True)
            (tmp_path / "models" / name / "model.yaml").write_text(
                yaml.safe_dump(
                    {
                        "format": "remote",
                        "remote": {"url": url, "model": "lab"},
                        "inputs": lab["inputs"],
                        "outputs": lab["outputs"],
                        "monitors": {"drift": None},
                    }
                )
            )
        with running(tmp_path / "models", front, **traced) as instance:
            assert ask_http(instance, "far", TRACE) == 200
            ask_grpc(instance, "far-grpc", TRACE + 1)
            assert ask_http(instance, "far", TRACE + 2, flags=0) == 200
            assert ask_http(instance, "far", TRACE + 3, row=[666, 0, 0, 0]) == 500
            assert ask_http(instance, "far", TRACE + 4, name="z") == 400
            eventually("both traces", lambda: len(Trace(receiver, TRACE)) == 8)
            eventually("both traces", lambda: len(Trace(receiver, TRACE + 1)) == 8)
            eventually("a failure", lambda: len(Trace(receiver, TRACE + 3)) == 8)
            eventually("a refusal", lambda: len(Trace(receiver, TRACE + 4)) == 1)
            # Counted once the receiver has answered, so later than it has them.
            sent = "vigil_telemetry_spans_sent_total"
            eventually("all are counted", lambda: instance.metric(sent) >= 13)
            assert instance.metric("vigil_telemetry_spans_dropped_total") == 0
    client = (7).to_bytes(8, "big")
    for number, name, upstream in ((0, HTTP, HTTP), (1, GRPC, GRPC), (3, HTTP, HTTP)):
        trace = Trace(receiver, TRACE + number)
        server = trace.of(name, parent=client)
        batch = trace.of("batch", parent=server.span_id)
        model = trace.of("model", parent=batch.span_id)
        beyond = trace.of(upstream, parent=model.span_id)
        trace.of("model", parent=trace.of("batch", parent=beyond.span_id).span_id)
        assert [link.span_id for link in batch.links] == [server.span_id]
        assert model.kind == model.SPAN_KIND_CLIENT
        assert attributes_of(batch)["vigil.batch.rows"] == 1
        failed = number == 3
        assert (server.status.code == server.status.STATUS_CODE_ERROR) is failed
        assert (beyond.status.code == server.status.STATUS_CODE_ERROR) is failed
    assert attributes_of(Trace(receiver, TRACE + 1).of(GRPC, parent=client)) == {
        "rpc.system.name": "grpc", "rpc.method": GRPC, "rpc.response.status_code": "OK",
        "vigil.model": "far-grpc", "vigil.version": "1", "vigil.rows": 1, "vigil.outcome": "ok",
        "vigil.request.id": "over-grpc",
    }  # fmt: skip
    failure = attributes_of(Trace(receiver, TRACE + 3).of(HTTP, parent=client))
    assert failure["http.response.status_code"] == 500
    assert failure["error.type"] == "ModelFailed"
    refusal = Trace(receiver, TRACE + 4).of(HTTP)
    assert attributes_of(refusal)["http.response.status_code"] == 400
    assert refusal.status.code == refusal.status.STATUS_CODE_UNSET
    # What its client does not trace is traced nowhere, and nothing else has begun a trace.
    assert {span.trace_id for span in receiver.spans} == {
        (TRACE + number).to_bytes(16, "big") for number in (0, 1, 3, 4)
    }


@pytest.mark.parametrize(
    "source", ["configuration", pytest.param("variable", marks=pytest.mark.long)]
)
def test_lines_and_buckets_lead_to_the_trace(
    running: Any, make_lab: Any, tmp_path: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch,
    eventually: Any, attributes_of: Callable[[Any], dict[str, Any]], source: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "50")
    telemetry: dict[str, Any] = {"traces": {"endpoint": receiver.url, "sample_ratio": 0}}
    if source == "configuration":
        telemetry["logs"] = {"endpoint": receiver.url}
    else:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{receiver.url}/v1/logs")
    with running(make_lab(), tmp_path, telemetry=telemetry) as instance:
        assert ask_http(instance, "lab", TRACE, row=[666, 0, 0, 0]) == 500
        eventually("its span", lambda: len(Trace(receiver, TRACE)) == 4)

        def line() -> Any:
            return [each for each in receiver.lines if each.event_name == "model_failed"]

        [failed] = eventually("its line", line)
        instance.settle()
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        text = httpx.get(f"{instance.admin}/metrics", headers=accept, timeout=60).text
    server = Trace(receiver, TRACE).of(HTTP)
    assert (failed.trace_id, failed.span_id) == (server.trace_id, server.span_id)
    assert attributes_of(failed)["vigil.request.id"] == f"r{TRACE:x}"
    [shown] = [
        sample
        for family in text_string_to_metric_families(text)
        if family.name == "vigil_inference_duration_seconds"
        for sample in family.samples
        if sample.exemplar
    ]
    assert shown.labels["outcome"] == "failed"
    assert shown.exemplar.labels["trace_id"] == server.trace_id.hex()
    assert shown.exemplar.labels["span_id"] == server.span_id.hex()
    # Each process sends its own lines, the last ones at its end.
    events = {(attributes_of(each)["vigil.role"], each.event_name) for each in receiver.lines}
    assert {("replica", "model_loaded"), ("supervisor", "server_ready")} <= events
    assert ("supervisor", "server_stopped") in events


async def test_embedded(make_lab: Any, tmp_path: Path, receiver: Any, attributes_of: Any) -> None:
    config = tmp_path / "vigil.yaml"
    traces = {"endpoint": receiver.url, "sample_ratio": 1}
    config.write_text(yaml.safe_dump({"telemetry": {"traces": traces}}))
    async with Vigil(make_lab(), tmp_path / "data", config) as vigil:
        await vigil.ready(400)
        await vigil.infer("lab", {"x": np.float32([ROW, ROW])}, id="within")
    [server] = receiver.named("infer")
    assert attributes_of(server)["vigil.request.id"] == "within"
    assert attributes_of(server)["vigil.rows"] == 2
    assert server.parent_span_id == b""
    for name in ("queue", "batch"):
        [span] = receiver.named(name)
        assert span.parent_span_id == server.span_id
