"""Statistics, model configuration, repository index and classification over HTTP and gRPC."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from serving.protocol.pb import open_inference_pb2 as pb

INFER = "/v2/models/m/infer"
SERVICE = "/inference.GRPCInferenceService/"


def body(rows: int = 1, **more: Any) -> bytes:
    data = [float(number) for number in range(2 * rows)]
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


async def call(ask: Any, method: str, request: Any, reply: Any) -> Any:
    payload = request.SerializeToString()
    framed = b"\0" + len(payload).to_bytes(4, "big") + payload
    answer = await ask("POST", SERVICE + method, framed, [("content-type", "application/grpc")])
    if answer.trailers["grpc-status"] != "0":
        return int(answer.trailers["grpc-status"])
    return reply.FromString(answer.body[5:])


def like_json(message: Any) -> Any:
    """A message as the HTTP body of the same content: 64-bit numbers are no strings there."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(held) for key, held in value.items()}
        if isinstance(value, list):
            return [plain(held) for held in value]
        return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value

    return plain(
        MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    )


async def test_statistics_are_the_same_over_grpc(ask: Any) -> None:
    await ask("POST", INFER, body(3))
    over_http = (await ask("GET", "/v2/models/m/stats")).json()["model_stats"]
    for request in ({}, {"name": "m"}, {"name": "m", "version": "1"}):
        reply = await call(
            ask, "ModelStatistics", pb.ModelStatisticsRequest(**request), pb.ModelStatisticsResponse
        )
        got = like_json(reply)["model_stats"]
        assert got == [{**over_http[0], "version": 1}]


@pytest.mark.parametrize("what", ["stats", "config"])
async def test_of_models_that_are_not_there(ask: Any, what: str) -> None:
    for path in (f"/v2/models/q/{what}", f"/v2/models/m/versions/7/{what}"):
        answer = await ask("GET", path)
        assert answer.status == 404
        assert answer.json()["error"].startswith("Request for unknown model")
    method = {"stats": "ModelStatistics", "config": "ModelConfig"}[what]
    for request in ({"name": "q"}, {"name": "m", "version": "7"}):
        message = getattr(pb, f"{method}Request")(**request)
        assert await call(ask, method, message, None) == 5


@pytest.mark.parametrize("path", ["/v2/models/m/config", "/v2/models/m/versions/1/config"])
async def test_model_configuration(ask: Any, path: str) -> None:
    given = (await ask("GET", path)).json()
    tensor = {"data_type": "TYPE_FP32", "dims": [2]}
    assert given == {
        "name": "m",
        "platform": "pytorch_export",
        "backend": "pytorch",
        "max_batch_size": 1024,
        "input": [{"name": "x", **tensor, "format": "FORMAT_NONE", "optional": False}],
        "output": [{"name": "y", **tensor, "label_filename": ""}],
        "dynamic_batching": {
            "max_queue_delay_microseconds": 0,
            "preferred_batch_size": [],
            "preserve_ordering": False,
            "priority_levels": 0,
            "default_priority_level": 0,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": 0,
                "allow_timeout_override": True,
                "max_queue_size": 4096,
            },
            "priority_queue_policy": {},
        },
        "parameters": {},
    }
    reply = await call(ask, "ModelConfig", pb.ModelConfigRequest(name="m"), pb.ModelConfigResponse)
    assert reply.config.HasField("dynamic_batching")
    assert like_json(reply.config) == given


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ready": false}', b" "])
async def test_repository_index(ask: Any, content: bytes) -> None:
    answer = await ask("POST", "/v2/repository/index", content)
    assert answer.status == 200
    assert answer.json() == [{"name": "m", "version": "1", "state": "READY", "reason": ""}]


async def test_repository_index_of_what_is_not_ready(ask: Any, link: Any) -> None:
    link.open = False
    (entry,) = (await ask("POST", "/v2/repository/index")).json()
    assert (entry["state"], bool(entry["reason"])) == ("UNAVAILABLE", True)
    assert (await ask("POST", "/v2/repository/index", b'{"ready": true}')).json() == []
    request = pb.RepositoryIndexRequest()
    reply = await call(ask, "RepositoryIndex", request, pb.RepositoryIndexResponse)
    assert [(m.name, m.state) for m in reply.models] == [("m", "UNAVAILABLE")]
    request.ready = True
    reply = await call(ask, "RepositoryIndex", request, pb.RepositoryIndexResponse)
    assert not reply.models


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"ready": 1}', b"\xff", b"[" * 5000])
async def test_wrong_bodies_for_the_index(ask: Any, content: bytes) -> None:
    answer = await ask("POST", "/v2/repository/index", content)
    assert answer.status == 400
    assert "repository index" in answer.json()["error"]


async def test_classification(ask: Any) -> None:
    wanted = [{"name": "y", "parameters": {"classification": 5}}]
    answer = await ask("POST", INFER, body(2, outputs=wanted))
    assert answer.json()["outputs"] == [
        {
            "name": "y", "datatype": "BYTES", "shape": [2, 2],
            "data": ["2.000000:1", "0.000000:0", "6.000000:1", "4.000000:0"],
        }
    ]  # fmt: skip
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend(
        [1, 2]
    )
    message.outputs.add(name="y").parameters["classification"].int64_param = 1
    message.parameters["binary_data_output"].bool_param = False
    reply = await call(ask, "ModelInfer", message, pb.ModelInferResponse)
    (output,) = reply.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 1])
    assert list(output.contents.bytes_contents) == [b"4.000000:1"]


@pytest.mark.parametrize("count", [-1, 1.5, True, "1", 1001])
async def test_wrong_classifications(ask: Any, count: Any) -> None:
    wanted = [{"name": "y", "parameters": {"classification": count}}]
    answer = await ask("POST", INFER, body(outputs=wanted))
    assert answer.status == 400
    assert "classification" in answer.json()["error"]
