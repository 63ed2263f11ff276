"""Endpoints that are no served version, over real connections: transports know no difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.routing import Route
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelInferResponse


@pytest.fixture
def graph(plane: Any, toy_endpoints: Any) -> Any:
    """The model `twice`: the doubler of `m`, two times."""
    made = toy_endpoints.Twice(plane.resolve("m"))
    plane.router.put(Route(made, "blue"))
    return made


def http(method: str, path: str, body: bytes = b"") -> bytes:
    return (
        f"{method} /v2/models/{path} HTTP/1.1\r\nHost: v\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def test_a_graph_answers_over_http(connect: Any, graph: Any) -> None:
    client = await connect()
    for rows in (1, 300):
        tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [1.5] * 2 * rows}
        body = json.dumps({"id": "q", "inputs": [tensor]}).encode()
        await client.send(http("POST", "twice/infer", body))
        status, _, told = await client.answer()
        assert (status, json.loads(told)["model_name"]) == (200, "twice")
        assert json.loads(told)["outputs"][0]["data"] == [6.0] * 2 * rows
    assert graph.arms == ["blue", "blue"]


async def test_a_graph_answers_over_grpc(connect2: Any, graph: Any, message: bytes) -> None:
    request = ModelInferRequest.FromString(message)
    request.model_name = "twice"
    client = await connect2()
    stream = await client.answer(await client.call(request.SerializeToString()))
    assert stream.trailers["grpc-status"] == "0"
    response = ModelInferResponse.FromString(stream.body[5:])
    assert response.model_name == "twice"


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "twice", 200, '"name":"twice"'),
        ("GET", "twice/ready", 200, ""),
        ("GET", "twice/config", 200, '"name":"twice"'),
        ("GET", "twice/stats", 501, "model 'twice' has no replicas here"),
        ("POST", "twice/explain", 501, "model 'twice' has no replicas here"),
    ],
)
async def test_what_is_asked_of_a_graph(
    connect: Any, graph: Any, method: str, path: str, status: int, words: str
) -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
    client = await connect()
    await client.send(http(method, path, body if method == "POST" else b""))
    told, _, answer = await client.answer()
    assert (told, words in answer.decode()) == (status, True), answer


async def test_only_requests_that_need_a_place_in_a_queue_wait_for_one(
    server: Any, plane: Any, toy_endpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestQueue, "full", True)
    assert server.state.backlog.place("m", "", "", b"") is not None
    plane.router.put(Route(toy_endpoints.Cache(plane.resolve("m"))))
    assert server.state.backlog.place("m", "", "", b"") is None
