"""Rows that belong together, inputs without rows, and tensors without elements, over every wire.

Each answer is compared with the model's own function of that request, while other clients ask too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import yaml
from onnx import TensorProto, helper

from serving.models.export import save_files
from serving.models.repository.manifest import write_folder_manifest
from serving.protocol.pb import open_inference_pb2 as pb

pytestmark = pytest.mark.e2e

CLIENTS = 32
X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1]}
SOURCE = """
import numpy as np

class Net:
    def predict(self, inputs):
        {body}
"""
BODIES = {
    "candidates": "e = np.exp(inputs['x'].sum(1)); return {'y': (e / e.sum()).astype('f4')}",
    "time": "return {'y': np.cumsum(inputs['x'], axis=0)}",
    "free": "return {'y': inputs['x'], 't': inputs['s']}",
}
BODIES["one"] = BODIES["mixed"] = BODIES["candidates"]
CONFIGS: dict[str, dict[str, Any]] = {
    "candidates": {"inputs": [X], "outputs": [Y], "batching": {"join": False}},
    "one": {"inputs": [X], "outputs": [Y], "batching": {"join": False, "max_batch_size": 1}},
    "mixed": {"inputs": [X], "outputs": [Y], "required": False},
    "time": {
        "inputs": [{**X, "shape": [-1, -1, 4]}],
        "outputs": [{**Y, "shape": [-1, -1, 4]}],
        "batching": {"row_axis": False},
    },
    "free": {
        "inputs": [
            {**X, "shape": [-1, -1]},
            {"name": "s", "datatype": "BYTES", "shape": [-1, -1]},
        ],
        "outputs": [
            {**Y, "shape": [-1, -1]},
            {"name": "t", "datatype": "BYTES", "shape": [-1, -1]},
        ],
    },
}


def softmax(x: np.ndarray) -> np.ndarray:
    scores = np.exp(x.sum(1))
    return np.asarray(scores / scores.sum(), np.float32)


def onnx_model(folder: Path) -> None:
    """Write `y = (x + t) * w`, with a threshold `t` of no axis and weights `w` of no rows."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "t"], ["sum"]),
            helper.make_node("Mul", ["sum", "w"], ["y"]),
        ],
        "g",
        [
            value("t", TensorProto.FLOAT, []),
            value("x", TensorProto.FLOAT, ["n", 2]),
            value("w", TensorProto.FLOAT, [2]),
        ],
        [value("y", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_folder_manifest(folder)
    (folder.parent / "model.yaml").write_text("format: onnx\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, running: Callable[..., Any]) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("rows")
    for name, body in BODIES.items():
        (root / "model.py").write_text(SOURCE.format(body=body))
        save_files(root / "models" / name / "1", root / "model.py")
        config = {"format": "python", "factory": "model:Net", "trust_code": True, **CONFIGS[name]}
        (root / "models" / name / "model.yaml").write_text(yaml.safe_dump(config))
    onnx_model(root / "models" / "scaled" / "1")
    with running(root / "models", tmp_path_factory.mktemp("run")) as started:
        yield started


def tensor(name: str, data: np.ndarray) -> dict[str, Any]:
    shape, flat = list(data.shape), data.ravel().tolist()
    return {"name": name, "datatype": "FP32", "shape": shape, "data": flat}


def binary(server: Any, model: str, **tensors: np.ndarray) -> dict[str, np.ndarray]:
    client = tritonclient.http.InferenceServerClient(server.url.removeprefix("http://"))
    return _ask(tritonclient.http, client, model, tensors)


def grpc(server: Any, model: str, **tensors: np.ndarray) -> dict[str, np.ndarray]:
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        return _ask(tritonclient.grpc, client, model, tensors)


def _ask(kit: Any, client: Any, model: str, tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    inputs = []
    for name, data in tensors.items():
        datatype = "BYTES" if data.dtype == object else "FP32"
        inputs.append(kit.InferInput(name, list(data.shape), datatype))
        inputs[-1].set_data_from_numpy(data)
    answer = client.infer(model, inputs)
    names = (
        [output["name"] for output in answer.get_response()["outputs"]]
        if (kit is tritonclient.http)
        else [output.name for output in answer.get_response().outputs]
    )
    return {name: answer.as_numpy(name) for name in names}


def typed(server: Any, model: str, **tensors: np.ndarray) -> dict[str, np.ndarray]:
    message = pb.ModelInferRequest(model_name=model)
    for name, data in tensors.items():
        given = message.inputs.add(
            name=name, datatype="BYTES" if data.dtype == object else "FP32", shape=data.shape
        )
        field = "bytes_contents" if data.dtype == object else "fp32_contents"
        getattr(given.contents, field).extend(data.ravel().tolist())
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        answer = client._client_stub.ModelInfer(message)
    return {
        output.name: np.frombuffer(raw, np.float32).reshape(output.shape)
        if output.datatype == "FP32"
        else np.empty(output.shape, object)
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def plain(server: Any, model: str, **tensors: np.ndarray) -> dict[str, np.ndarray]:
    sent = [
        tensor(name, data) if data.dtype != object else {**tensor(name, data), "datatype": "BYTES"}
        for name, data in tensors.items()
    ]
    answer = server.infer(model, sent)
    assert answer.status_code == 200, answer.text
    return {
        output["name"]: np.array(
            output["data"], np.float32 if output["datatype"] == "FP32" else object
        ).reshape(output["shape"])
        for output in answer.json()["outputs"]
    }


WAYS = {"json": plain, "binary": binary, "grpc": grpc, "grpc-typed": typed}


@pytest.mark.parametrize("model", ["candidates", "one"])
def test_candidates_are_scored_against_those_of_their_request_only(server: Any, model: str) -> None:
    def ask(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(5):
            x = random.normal(size=(random.integers(1, 9), 4)).astype(np.float32)
            way = [plain, binary, grpc][seed % 3]
            np.testing.assert_allclose(way(server, model, x=x)["y"], softmax(x), rtol=1e-5)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(CLIENTS)))


def test_a_first_axis_of_time_is_none_of_rows(server: Any) -> None:
    metadata = httpx.get(f"{server.url}/v2/models/time", timeout=60).json()
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"][0]["shape"] == [-1, 4]

    def ask(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(5):
            x = random.normal(size=(random.integers(1, 9), 4)).astype(np.float32)
            way = [plain, binary, grpc][seed % 3]
            found = way(server, "time", x=x)["y"]
            np.testing.assert_allclose(found, np.cumsum(x, axis=0), rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(CLIENTS)))


def test_what_mixes_rows_is_not_served_joined(server: Any, eventually: Callable[..., Any]) -> None:
    def reason() -> str:
        index = httpx.post(f"{server.url}/v2/repository/index", timeout=60).json()
        (row,) = [row for row in index if row["name"] == "mixed"]
        assert row["state"] == "UNAVAILABLE"
        return "" if row["reason"] == "no replica yet" else str(row["reason"])

    told = eventually("the model that mixes rows has been tried", reason)
    assert "output 'y' of a row depends on the rows beside it" in told
    assert "`batching: {join: false}`" in told


@pytest.mark.parametrize("way", WAYS)
def test_requests_with_another_value_share_no_batch(server: Any, way: str) -> None:
    def ask(seed: int) -> None:
        random = np.random.default_rng(seed)
        t, w = np.float32(seed % 5), np.array([1, seed % 2], np.float32)
        for _ in range(5):
            x = random.normal(size=(random.integers(1, 5), 2)).astype(np.float32)
            found = WAYS[way](server, "scaled", x=x, t=np.asarray(t), w=w)["y"]
            np.testing.assert_allclose(found, (x + t) * w, rtol=1e-6)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(CLIENTS)))


def test_inputs_without_rows_are_told_so(server: Any) -> None:
    metadata = httpx.get(f"{server.url}/v2/models/scaled", timeout=60).json()
    shapes = {each["name"]: each["shape"] for each in metadata["inputs"]}
    assert shapes == {"t": [], "x": [-1, 2], "w": [2]}
    wrong = server.infer("scaled", [tensor("t", np.zeros(())), tensor("x", np.zeros((1, 2))),
                                    tensor("w", np.zeros(3))])  # fmt: skip
    assert wrong.status_code == 400
    assert "input 'w' of model 'scaled' has shape [2], not [3]" in wrong.json()["error"]


EMPTY = {"no-rows": (0, 4), "no-columns": (3, 0), "neither": (0, 0)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", EMPTY)
def test_tensors_without_elements_are_answered(server: Any, way: str, case: str) -> None:
    shape = EMPTY[case]
    x, s = np.zeros(shape, np.float32), np.full(shape, b"", object)
    for _ in range(2):  # the second time it is recognised by its first bytes
        found = WAYS[way](server, "free", x=x, s=s)
        rows, width = shape
        assert found["y"].shape == found["t"].shape == (rows, width if rows else 0)


@pytest.mark.parametrize("way", WAYS)
def test_no_rows_of_a_fixed_width_and_of_candidates(server: Any, way: str) -> None:
    given = {"t": np.zeros((), np.float32), "w": np.ones(2, np.float32)}
    found = WAYS[way](server, "scaled", x=np.zeros((0, 2), np.float32), **given)
    assert found["y"].shape == (0, 2)
    assert WAYS[way](server, "candidates", x=np.zeros((0, 4), np.float32))["y"].shape == (0,)


def test_a_width_that_is_declared_may_not_be_zero(server: Any) -> None:
    answer = server.infer("candidates", [tensor("x", np.zeros((1, 0)))])
    assert answer.status_code == 400
    assert "has shape [-1, 4], not [1, 0]" in answer.json()["error"]
    below = {"name": "x", "datatype": "FP32", "shape": [-1, 4], "data": []}
    answer = server.infer("candidates", [below])
    assert answer.status_code == 400
    assert ">= 0" in answer.json()["error"]


def test_a_raw_body_is_one_request_of_its_size(server: Any) -> None:
    x = np.arange(12, dtype=np.float32)
    answer = httpx.post(
        f"{server.url}/v2/models/time/infer",
        content=x.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.content[:length])["outputs"][0]["shape"] == [3, 4]
    found = np.frombuffer(answer.content[length:], np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found, np.cumsum(x.reshape(3, 4), axis=0))


def test_what_cannot_be_explained_is_refused(server: Any) -> None:
    for model, inputs in (
        ("candidates", {"x": np.zeros((2, 4))}),
        ("scaled", {"x": np.zeros((1, 2)), "t": np.zeros(()), "w": np.zeros(2)}),
    ):
        sent = {"inputs": [tensor(name, data) for name, data in inputs.items()]}
        answer = httpx.post(f"{server.url}/v2/models/{model}/explain", json=sent, timeout=60)
        assert answer.status_code == 501, answer.text
        assert "explains nothing" in answer.json()["error"]
