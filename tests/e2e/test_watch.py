"""`vigil watch` in front of a real Triton and a real MLServer, asked by their own clients.

Both servers have environments of their own. `python -m loadtest.peers.tritonserver` and `python -m
loadtest.peers.mlserver` make them; `.ci/run` does that before the tests.
"""

import copy
import json
import os
import shutil
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from loadtest.home import bench_home
from loadtest.peers import mlserver, tritonserver
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

HEAD = "import numpy as np\nimport triton_python_backend_utils as pb_utils\n\n"
MODELS = {
    "scorer": (
        3,
        """
class TritonPythonModel:
    def execute(self, requests):
        return [self.one(pb_utils.get_input_tensor_by_name(r, "x").as_numpy()) for r in requests]

    def one(self, x):
        if (x == 666).any():
            return pb_utils.InferenceResponse([], pb_utils.TritonError("poison row"))
        p = 1 / (1 + np.exp(-x.sum(axis=1, keepdims=True)))
        y = np.hstack([1 - p, p]).astype(np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("p", y)])
""",
        """
max_batch_size: 64
input [{ name: "x", data_type: TYPE_FP32, dims: [3] }]
output [{ name: "p", data_type: TYPE_FP32, dims: [2] }]
dynamic_batching { }
""",
    ),
    "vector": (
        1,
        """
class TritonPythonModel:
    def execute(self, requests):
        xs = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x * 2)]) for x in xs]
""",
        """
max_batch_size: 0
input [{ name: "x", data_type: TYPE_FP16, dims: [3] }]
output [{ name: "y", data_type: TYPE_FP16, dims: [3] }]
""",
    ),
    "words": (
        1,
        """
class TritonPythonModel:
    def execute(self, requests):
        xs = [pb_utils.get_input_tensor_by_name(r, "text").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("text", x)]) for x in xs]
""",
        """
max_batch_size: 8
input [{ name: "text", data_type: TYPE_STRING, dims: [-1] }]
output [{ name: "text", data_type: TYPE_STRING, dims: [-1] }]
""",
    ),
    "parameters": (
        1,
        """
class TritonPythonModel:
    def execute(self, requests):
        return [self.one(r.parameters()) for r in requests]

    def one(self, text):
        y = np.array([[text.encode()]], object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("given", y)])
""",
        """
max_batch_size: 8
input [{ name: "x", data_type: TYPE_INT64, dims: [1] }]
output [{ name: "given", data_type: TYPE_STRING, dims: [1] }]
""",
    ),
    "streamer": (
        1,
        "class TritonPythonModel:\n    def execute(self, requests):\n        return None\n",
        """
input [{ name: "x", data_type: TYPE_FP32, dims: [1] }]
output [{ name: "y", data_type: TYPE_FP32, dims: [1] }]
model_transaction_policy { decoupled: true }
""",
    ),
}

TRAIN = """
import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier as Classifier
joblib.dump(Classifier(max_iter=5).fit(*load_iris(return_X_y=True)), "model.joblib")
"""


def _need(peer, name):
    home = bench_home()
    if not peer.installed(home):
        message = f"needs {name}: python -m {peer.__name__}"
        # In CI nothing may be missing: a skip would hide it.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return peer.install(home)


def write_models(folder: Path) -> Path:
    for name, (version, code, config) in MODELS.items():
        (folder / name / str(version)).mkdir(parents=True)
        (folder / name / str(version) / "model.py").write_text(HEAD + code)
        (folder / name / "config.pbtxt").write_text('backend: "python"\n' + config)
    return folder


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    venv = _need(tritonserver, "Triton")
    folder = tmp_path_factory.mktemp("triton")
    server = tritonserver.serve("triton", venv, write_models(folder / "models"), folder / "log")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def watched(triton, watching, tmp_path_factory):
    upstream = f"127.0.0.1:{triton.grpc_port}"
    with watching(upstream, tmp_path_factory.mktemp("watch")) as instance:
        yield instance


@pytest.fixture(scope="module", params=["http", "grpc"])
def clients(request, triton, watched):
    """The same client of Triton's, once for Triton and once for Vigil, and its module."""
    module = getattr(tritonclient, request.param)
    ports = [(s.http_port, s.grpc_port)[request.param == "grpc"] for s in (triton, watched)]
    both = [module.InferenceServerClient(f"127.0.0.1:{port}") for port in ports]
    yield module, *both
    for client in both:
        client.close()


def ask(module, client, model, name, array, datatype, **more):
    tensor = module.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return client.infer(model, [tensor], **more)


CASES = [
    ("scorer", "x", np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "FP32", "p"),
    ("vector", "x", np.array([1, -2.5, 3], np.float16), "FP16", "y"),
    ("words", "text", np.array([["Käse", ""], ["a", "b\0c"]], object), "BYTES", "text"),
]


@pytest.mark.parametrize(
    ("model", "name", "array", "datatype", "output"), CASES, ids=[case[0] for case in CASES]
)
def test_answers_are_those_of_triton(clients, model, name, array, datatype, output):
    module, theirs, ours = clients
    if array.dtype == object:
        array = np.vectorize(str.encode, otypes=[object])(array)
    right, got = (ask(module, c, model, name, array, datatype) for c in (theirs, ours))
    np.testing.assert_array_equal(got.as_numpy(output), right.as_numpy(output))
    assert got.as_numpy(output).dtype == right.as_numpy(output).dtype


def test_metadata_are_those_of_triton(clients):
    module, theirs, ours = clients
    more = {"as_json": True} if module is tritonclient.grpc else {}
    for model in ("scorer", "vector", "words"):
        right, got = (client.get_model_metadata(model, **more) for client in (theirs, ours))
        right.pop("platform")
        got.pop("platform")
        assert got == right


@pytest.mark.parametrize("model", ["nobody", "scorer"])
def test_refusals_are_those_of_triton(clients, model):
    module, theirs, ours = clients
    said = []
    for client in (theirs, ours):
        with pytest.raises(InferenceServerException) as caught:
            ask(module, client, model, "x", np.full((2, 3), 666, np.float32), "FP32")
        said.append((caught.value.status(), caught.value.message()))
    (right_status, right), (status, text) = said
    assert status == right_status
    if model == "scorer":
        assert "poison row" in text
        assert "poison row" in right
    else:
        assert text.startswith("Request for unknown model")
        assert right.startswith("Request for unknown model")


def a_message(typed, **parameters):
    """One row for `scorer`, as C++ clients and Triton's examples send it."""
    message = pb.ModelInferRequest(model_name="scorer", id="mine")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    if typed:
        tensor.contents.fp32_contents.extend([1, 2, 3])
    else:
        message.raw_input_contents.append(np.array([1, 2, 3], "<f4").tobytes())
    for name, value in parameters.items():
        message.parameters[name].CopyFrom(value)
    return message


TRUE, NUMBER, TEXT = pb.InferParameter(bool_param=True), pb.InferParameter(int64_param=7), "a-b"
DOCUMENTED = [
    {"triton_enable_empty_final_response": TRUE},
    {"triton_enable_empty_final_response": pb.InferParameter(bool_param=False)},
    {"sequence_id": NUMBER, "sequence_start": TRUE, "sequence_end": TRUE},
    {"sequence_id": pb.InferParameter(string_param=TEXT)},
    {"priority": pb.InferParameter(uint64_param=1), "timeout": pb.InferParameter(int64_param=0)},
    {"headers": pb.InferParameter(string_param=TEXT), "mine": pb.InferParameter(double_param=1)},
]


@pytest.mark.parametrize("parameters", DOCUMENTED, ids=lambda given: "-".join(given))
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "raw"])
def test_messages_are_answered_as_by_triton(triton, watched, typed, parameters):
    message = a_message(typed, **parameters)
    answers = []
    for server in (triton, watched):
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            answers.append((
                stub.ModelInfer(message, timeout=60),
                *stub.ModelStreamInfer(iter([message] * 2), timeout=60),
            ))  # fmt: skip
    right, got = answers
    assert got == right


@pytest.mark.parametrize(("model", "version"), [("nobody", ""), ("scorer", "9"), ("scorer", "3")])
def test_who_is_ready_is_told_as_by_triton(triton, watched, model, version):
    for module, port in ((tritonclient.http, "http_port"), (tritonclient.grpc, "grpc_port")):
        said = []
        for server in (triton, watched):
            with module.InferenceServerClient(f"127.0.0.1:{getattr(server, port)}") as client:
                said.append(client.is_model_ready(model, version))
        assert said == [version == "3"] * 2


def test_only_the_poisonous_request_fails(watched):
    """Sent together, they share batches upstream; the one that is refused is bisected out."""
    client = tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{watched.http_port}", concurrency=32
    )
    waiting = []
    for index in range(32):
        x = np.full((1, 3), 666 if index == 13 else index / 10, np.float32)
        tensor = tritonclient.http.InferInput("x", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        waiting.append(client.async_infer("scorer", [tensor]))
    for index, pending in enumerate(waiting):
        if index == 13:
            with pytest.raises(InferenceServerException, match="poison row"):
                pending.get_result()
        else:
            right = 1 / (1 + np.exp(-3 * index / 10))
            assert pending.get_result().as_numpy("p")[0, 1] == pytest.approx(right, abs=1e-6)
    client.close()


def test_parameters_arrive_upstream(watched):
    body = {
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [1]}],
        "parameters": {"colour": "red", "depth": 3, "sensitive_features": "{}"},
    }
    answer = httpx.post(f"{watched.url}/v2/models/parameters/infer", json=body, timeout=60)
    assert json.loads(answer.json()["outputs"][0]["data"][0]) == {"colour": "red", "depth": 3}


def test_what_cannot_be_served_is_left_out_with_a_sentence(watched):
    assert "streamer: left out: it is decoupled" in watched.log.read_text()
    index = httpx.post(f"{watched.url}/v2/repository/index", timeout=60).json()
    assert [(m["name"], m["version"]) for m in index] == [
        ("parameters", "1"), ("scorer", "3"), ("vector", "1"), ("words", "1"),
    ]  # fmt: skip


@pytest.mark.long
def test_it_comes_back_with_the_server(watching, eventually, tmp_path):
    """The upstream ends and starts again on its port; Vigil is neither told nor restarted."""
    venv = _need(tritonserver, "Triton")
    models = write_models(tmp_path / "models")
    for name in ("vector", "words", "parameters", "streamer"):
        shutil.rmtree(models / name)
    server = tritonserver.serve("triton", venv, models, tmp_path / "log-1")
    ports = (server.http_port, server.grpc_port)
    try:
        with watching(f"127.0.0.1:{server.grpc_port}", tmp_path) as instance:
            x = [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]
            assert instance.infer("scorer", x).status_code == 200
            server.stop()

            def says_why():
                answer = httpx.get(f"{instance.url}/v2/models/scorer/ready", timeout=60)
                return answer.status_code == 503 and "cannot be reached" in answer.text

            eventually("not ready, and why", says_why)
            assert instance.infer("scorer", x).status_code == 503
            server = tritonserver.serve("triton", venv, models, tmp_path / "log-2", ports)
            eventually("back", lambda: instance.infer("scorer", x).status_code == 200)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """MLServer with a model that tells neither inputs nor outputs, as its documents begin."""
    venv = _need(mlserver, "MLServer")
    folder = tmp_path_factory.mktemp("mlserver")
    (folder / "iris").mkdir()
    mlserver.run_python(venv, TRAIN, folder / "iris")
    settings = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v0.1.0"},
    }
    (folder / "iris" / "model-settings.json").write_text(json.dumps(settings))
    server = mlserver.serve(venv, folder, folder / "log")
    yield server
    server.stop()


IRIS = {
    "inputs": [
        {
            "name": "predict",
            "shape": [2, 4],
            "datatype": "FP32",
            "data": [5.1, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3],
        }
    ]
}


@pytest.mark.parametrize("transport", ["http", pytest.param("grpc", marks=pytest.mark.long)])
def test_mlserver(iris, watching, tmp_path, transport):
    (tmp_path / "iris.json").write_text(json.dumps(IRIS))
    port = iris.http_port if transport == "http" else iris.grpc_port
    options = ("--example", f"iris={tmp_path / 'iris.json'}", "--write", str(tmp_path / "kept"))
    with watching(f"127.0.0.1:{port}", tmp_path, *options) as instance:
        for missing in ({}, {3: None, 4: None}):
            asked = copy.deepcopy(IRIS)
            for place, value in missing.items():
                asked["inputs"][0]["data"][place] = value
            right, got = (
                httpx.post(f"http://127.0.0.1:{p}/v2/models/iris/infer", json=asked, timeout=60)
                for p in (iris.http_port, instance.http_port)
            )
            assert got.status_code == right.status_code == 200, got.text
            for key in ("data", "shape"):
                outputs, wanted = got.json()["outputs"], right.json()["outputs"]
                assert [o[key] for o in outputs] == [o[key] for o in wanted]
        assert "its version 'v0.1.0' is called 1 here" in instance.log.read_text()
    assert (tmp_path / "kept" / "iris" / "model.yaml").exists()
