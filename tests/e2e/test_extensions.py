"""Triton's extensions as its clients use them, and what web pages may read."""

from __future__ import annotations

import gzip
import json
import queue
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import yaml
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from serving.models.export import save_files
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

PAGE = "http://page.example"
PIXELS = [3, 8, 8]
CLIENTS = [tritonclient.http, tritonclient.grpc]
MODELS = '''
import numpy as np


class Model:
    def __init__(self, function):
        self.predict = function


def image():
    """Scores of three classes: the mean of each channel."""
    return Model(lambda given: {"scores": given["image"].mean((2, 3))})


def double():
    return Model(lambda given: {"y": given["x"] * 2})
'''


def describe(folder: Path, factory: str, given: Any, answered: Any, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    settings = {
        "format": "python", "factory": f"models:{factory}", "trust_code": True,
        "inputs": [{"datatype": "FP32", **given}], "outputs": [{"datatype": "FP32", **answered}],
        "monitors": {"drift": None}, "explain": None, **more,
    }  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(settings))


def describe_double(folder: Path, **more: Any) -> None:
    describe(folder, "double", {"name": "x", "shape": [-1]}, {"name": "y", "shape": [-1]}, **more)


@pytest.fixture(scope="module")
def server(
    make_lab: Callable[..., Path], running: Callable[..., Any], tmp_path_factory: Any
) -> Iterator[Any]:
    workdir = tmp_path_factory.mktemp("extensions")
    root = workdir / "models"
    shutil.copytree(make_lab(hang_timeout_s=120), root)
    source = workdir / "models.py"
    source.write_text(MODELS)
    image = {"name": "image", "shape": [-1, *PIXELS], "format": "FORMAT_NCHW"}
    scores = {"name": "scores", "shape": [-1, 3], "classes": ["red", "green", "blue"]}
    describe(root / "image", "image", image, scores)
    describe_double(root / "double", batching={"priority_levels": 3})
    describe_double(root / "reloaded")
    for name in ("image", "double", "reloaded"):
        save_files(root / name / "1", source)
    with running(root, workdir, listen={"cors_origins": [PAGE]}) as started:
        started.traces = workdir / "data" / "traces"
        yield started


def client(server: Any, module: Any) -> Any:
    address = server.grpc if module is tritonclient.grpc else server.url.removeprefix("http://")
    return module.InferenceServerClient(address)


def tensor(name: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": shape, "data": [1.5] * int(np.prod(shape))}


# -- configuration ------------------------------------------------------------------------


def parsed(metadata: Any, config: Any) -> tuple[int, ...]:
    """Check a model as Triton's image client does; return its channels, height and width."""
    assert len(metadata["inputs"]) == len(metadata["outputs"]) == len(config["input"]) == 1
    given, answered = metadata["inputs"][0], metadata["outputs"][0]
    assert answered["datatype"] == "FP32"
    batched = config["max_batch_size"] > 0
    assert sum(int(dim) > 1 for dim in answered["shape"][batched:]) <= 1
    assert len(given["shape"]) == 3 + batched
    assert model_config_pb2.ModelInput.Format.Value(config["input"][0]["format"]) == (
        model_config_pb2.ModelInput.FORMAT_NCHW
    )
    return tuple(int(dim) for dim in given["shape"][batched:])


def test_an_image_client_finds_what_it_checks(server: Any) -> None:
    with client(server, tritonclient.http) as http, client(server, tritonclient.grpc) as rpc:
        over_http = http.get_model_metadata("image"), http.get_model_config("image")
        metadata = rpc.get_model_metadata("image", as_json=True)
        over_grpc = metadata, rpc.get_model_config("image", as_json=True)["config"]
        for told in (over_http, over_grpc):
            assert parsed(*told) == tuple(PIXELS)
            (scores,) = told[1]["output"]
            assert scores["label_filename"] == "model.yaml"
            labels = told[1]["parameters"]["scores.classes"]["string_value"]
            assert json.loads(labels) == ["red", "green", "blue"]
        answer = server.infer(
            "image", [tensor("image", [1, *PIXELS])],
            outputs=[{"name": "scores", "parameters": {"classification": 1}}],
        )  # fmt: skip
    assert answer.json()["outputs"][0]["data"] == ["1.500000:0:red"]


def test_one_value_per_row_has_dims_and_levels_are_told(server: Any) -> None:
    with client(server, tritonclient.http) as http, client(server, tritonclient.grpc) as rpc:
        config = http.get_model_config("double")
        same = rpc.get_model_config("double").config
    assert (config["input"][0]["dims"], config["input"][0]["reshape"]) == ([1], {"shape": []})
    assert (list(same.input[0].dims), same.input[0].HasField("reshape")) == ([1], True)
    batching = config["dynamic_batching"]
    assert (batching["priority_levels"], batching["default_priority_level"]) == (3, 3)
    assert same.dynamic_batching.priority_levels == 3
    for shape in ([2], [2, 1]):
        assert server.infer("double", [tensor("x", shape)]).json()["outputs"][0]["data"] == [3, 3]


def test_a_priority_means_nothing_without_levels(server: Any) -> None:
    for model, status in (("reloaded", 200), ("double", 400)):
        answer = server.infer(model, [tensor("x", [1])], parameters={"priority": 7})
        assert answer.status_code == status, answer.text


# -- control ------------------------------------------------------------------------------


@pytest.mark.parametrize("module", CLIENTS)
def test_what_cannot_be_loaded_is_said_in_the_words_that_clients_look_for(
    server: Any, module: Any
) -> None:
    with client(server, module) as asked:
        for order, arguments, words in [
            (asked.load_model, {"model_name": "wrong_model_name"}, "unknown model"),
            (asked.load_model, {"model_name": "double", "config": "{}"}, "'config' takes no"),
            (
                asked.load_model,
                {"model_name": "double", "config": "{}", "files": {"file:1/a": b"x"}},
                "'config' takes no configuration: change model.yaml",
            ),
        ]:
            with pytest.raises(InferenceServerException) as refused:
                order(**arguments)
            name = arguments["model_name"]
            assert refused.value.message().startswith(f"failed to load '{name}', ")
            assert words in refused.value.message()
        with pytest.raises(InferenceServerException, match="failed to unload 'nobody', "):
            asked.unload_model("nobody", unload_dependents=True)
        assert asked.is_model_ready("double")


def test_a_reload_keeps_statistics_and_an_unload_takes_gauges_away(
    server: Any, eventually: Callable[..., Any]
) -> None:
    def counts() -> dict[str, int]:
        told = server.statistics("reloaded")
        stats = told["inference_stats"]
        return {
            "success": stats["success"]["count"],
            "queue": stats["queue"]["count"],
            "compute": stats["compute_infer"]["count"],
            "batches": sum(each["compute_infer"]["count"] for each in told["batch_stats"]),
            "inferences": told["inference_count"],
            "executions": told["execution_count"],
        }

    def slots() -> float:
        return float(server.metric("vigil_replica_slots_total", model="reloaded"))

    folder = server.models / "reloaded"
    with client(server, tritonclient.http) as http:
        before = counts()["success"]
        for _ in range(3):
            assert server.infer("reloaded", [tensor("x", [1])]).status_code == 200
        eventually("the counts", lambda: set(counts().values()) == {before + 3})
        last = server.statistics("reloaded")["last_inference"]
        describe_double(folder, batching={"max_queue_rows": 77})
        http.load_model("reloaded")
        policy = http.get_model_config("reloaded")["dynamic_batching"]["default_queue_policy"]
        assert policy["max_queue_size"] == 77
        assert set(counts().values()) == {before + 3}
        assert server.statistics("reloaded")["last_inference"] == last
        eventually("the slots", slots)
        http.unload_model("reloaded", unload_dependents=True)
        gauges = {"vigil_replica_slots_total", "vigil_replica_slots_used", "vigil_queue_rows"}

        def left() -> set[str]:
            metrics = httpx.get(f"{server.admin}/metrics", timeout=60).text.splitlines()
            return {line.split("{")[0] for line in metrics if 'model="reloaded"' in line}

        eventually("no gauge", lambda: not left() & gauges)
        assert "vigil_inference_requests_total" in left()
        http.load_model("reloaded")
        assert set(counts().values()) == {before + 3}


# -- who leaves ---------------------------------------------------------------------------


class OverHttp:
    """Requests of one HTTP/1.1 connection each, which leave by closing it."""

    def __init__(self, server: Any, packed: bool) -> None:
        self._server = server
        self._packed = packed
        self._sockets: list[socket.socket] = []

    def send(self, row: list[float]) -> None:
        body = json.dumps({"inputs": [{**tensor("x", [1, 4]), "data": row}]}).encode()
        head = f"POST /v2/models/lab/infer HTTP/1.1\r\nHost: {self._server.grpc}\r\n"
        if self._packed:  # so the ASGI app answers it
            body = gzip.compress(body)
            head += "Content-Encoding: gzip\r\n"
        one = socket.create_connection(("127.0.0.1", self._server.http_port))
        one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._sockets.append(one)

    def leave(self) -> None:
        for one in self._sockets:
            one.close()


class OverGrpc:
    """Unary calls, or one stream, which leave by cancelling."""

    def __init__(self, server: Any, stream: bool) -> None:
        self._channel = grpc.insecure_channel(server.grpc)
        self._stub = pb_grpc.GRPCInferenceServiceStub(self._channel)
        self._requests: queue.Queue[Any] = queue.Queue()
        self._stream = stream
        self._calls: list[Any] = []
        if stream:
            self._calls.append(self._stub.ModelStreamInfer(iter(self._requests.get, None)))

    def send(self, row: list[float]) -> None:
        message = pb.ModelInferRequest(model_name="lab")
        given = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        given.contents.fp32_contents.extend(row)
        if self._stream:
            self._requests.put(message)
        else:
            self._calls.append(self._stub.ModelInfer.future(message))

    def leave(self) -> None:
        for call in self._calls:
            call.cancel()
        self._requests.put(None)
        self._channel.close()


WAYS = {
    "http": lambda server: OverHttp(server, packed=False),
    "app": lambda server: OverHttp(server, packed=True),
    "grpc": lambda server: OverGrpc(server, stream=False),
    "stream": lambda server: OverGrpc(server, stream=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_leaves_is_counted_once(
    server: Any, close_gate: Callable[..., Any], eventually: Callable[..., Any], way: str
) -> None:
    def outcomes() -> dict[str, float]:
        server.settle()
        return {
            outcome: server.metric("vigil_inference_requests_total", model="lab", outcome=outcome)
            for outcome in ("ok", "abandoned", "failed", "deadline")
        }

    def stats() -> dict[str, int]:
        found = server.statistics("lab")["inference_stats"]
        return {name: found[name]["count"] for name in ("success", "fail", "compute_infer")}

    before, counted = outcomes(), stats()
    gate = close_gate(server)
    asked = WAYS[way](server)
    asked.send([0.0, gate.row, 0.0, 0.0])
    eventually("one is computed", gate.reached)
    asked.send([0.0, gate.row, 0.0, 0.0])
    eventually("one waits", lambda: server.metric("vigil_replica_slots_used", model="lab") == 2)
    asked.leave()
    eventually("both are counted", lambda: stats()["fail"] == counted["fail"] + 2)
    gate.open()
    eventually(
        "both are computed", lambda: stats()["compute_infer"] == counted["compute_infer"] + 2
    )
    assert stats() == {
        **counted, "fail": counted["fail"] + 2, "compute_infer": counted["compute_infer"] + 2,
    }  # fmt: skip
    assert outcomes() == {**before, "abandoned": before["abandoned"] + 2}


# -- traces -------------------------------------------------------------------------------


@pytest.mark.parametrize("module", CLIENTS)
def test_tensors_are_traced(server: Any, eventually: Callable[..., Any], module: Any) -> None:
    ident = f"traced-{module.__name__}"

    def written() -> list[dict[str, Any]]:
        lines = [line for each in server.traces.iterdir() for line in each.read_text().splitlines()]
        return [trace for trace in map(json.loads, lines) if trace["id"] == ident]

    levels = {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "1", "trace_mode": "triton"}
    more = {"as_json": True} if module is tritonclient.grpc else {}
    with client(server, module) as asked:
        told = asked.update_trace_settings(model_name="double", settings=levels, **more)
        assert asked.get_trace_settings(model_name="double", **more) == told
        settings = told.get("settings", told)
        if module is tritonclient.grpc:
            assert settings["trace_mode"]["value"] == ["triton"]
            assert settings["trace_level"]["value"] == levels["trace_level"]
        else:
            assert settings["trace_mode"] == "triton"
            assert settings["trace_level"] == levels["trace_level"]
        with pytest.raises(InferenceServerException, match="OpenTelemetry"):
            asked.update_trace_settings(settings={"trace_mode": "opentelemetry"})
        try:

            def traced() -> list[dict[str, Any]]:
                # Settings reach the gateway a moment after they are told.
                answer = server.infer("double", [tensor("x", [2])], id=ident)
                assert answer.status_code == 200
                return written()

            eventually("a trace", traced)
            eventually("all of it", lambda: len(written()) >= 3)
        finally:
            asked.update_trace_settings(
                model_name="double", settings=dict.fromkeys(("trace_level", "trace_rate"))
            )
    about, given, answered = written()[:3]
    assert about["model_name"] == "double"
    assert about["timestamps"][0]["name"] == "REQUEST_START"
    assert (given["activity"], answered["activity"]) == (
        "TENSOR_QUEUE_INPUT", "TENSOR_BACKEND_OUTPUT",
    )  # fmt: skip
    assert given["tensor"] == {"name": "x", "data": "1.5,1.5", "shape": "2", "dtype": "FP32"}
    assert answered["tensor"] == {"name": "y", "data": "3.0,3.0", "shape": "2", "dtype": "FP32"}
    assert {path.stat().st_mode & 0o777 for path in server.traces.iterdir()} == {0o600}


# -- web pages ----------------------------------------------------------------------------


def test_a_named_page_may_ask_and_nobody_else(server: Any) -> None:
    url = f"{server.url}/v2/models/double/infer"
    content = json.dumps({"id": "mine", "inputs": [tensor("x", [1])]})
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    with httpx.Client(timeout=60) as http:
        for origin in (PAGE, "http://other.example"):
            preflight = http.options(url, headers={"origin": origin, **asks})
            answer = http.post(url, content=content, headers={"origin": origin})
            wrong = http.post(url, content="{}", headers={"origin": origin})
            named = origin == PAGE
            statuses = [each.status_code for each in (preflight, answer, wrong)]
            assert statuses == ([200, 200, 400] if named else [200, 403, 403])
            for each in (preflight, answer, wrong):
                allowed = each.headers.get("access-control-allow-origin")
                assert allowed == (PAGE if named else None)
            assert answer.headers.get("x-request-id") == ("mine" if named else None)
            load = f"{server.url}/v2/repository/models/double/load"
            order = http.post(load, headers={"origin": origin})
            assert order.status_code == 403
            for each in (order, http.options(load, headers={"origin": origin, **asks})):
                assert "access-control-allow-origin" not in each.headers
        plain = http.post(url, content=content)
        assert "vary" not in plain.headers
