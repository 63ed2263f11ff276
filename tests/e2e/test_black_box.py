"""A model without gradients and without a profile: explained by both transports, and watched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from serving.control.explainers import ON_DEMAND
from serving.models.export import save_files
from serving.protocol.pb import open_inference_pb2 as pb

pytestmark = pytest.mark.e2e
Eventually = Callable[..., Any]

CONFIG = """
format: sklearn
inputs: [{name: x, datatype: FP32, shape: [-1, 3], features: [{name: a}, {name: b}, {name: c}]}]
outputs: [{name: y, datatype: FP64, shape: [-1]}]
monitors: {drift: {reference: live, reference_rows: 200, window: 100}}
"""
WEIGHTS = np.array([2.0, -1.0, 0.0])
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instance(
    running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    skops = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")
    from sklearn.linear_model import LinearRegression

    root = tmp_path_factory.mktemp("black-box")
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3))
    skops.dump(LinearRegression().fit(x, x @ WEIGHTS + 1), root / "model.skops")
    save_files(root / "models" / "line" / "1", root / "model.skops")
    (root / "models" / "line" / "model.yaml").write_text(CONFIG)
    unwatched = CONFIG.partition("monitors:")[0] + "monitors: {drift: null}\n"
    for name in ("gone", "unasked"):
        save_files(root / "models" / name / "1", root / "model.skops")
        (root / "models" / name / "model.yaml").write_text(unwatched)
    with running(root / "models", root) as started:
        yield started


def vigil(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=CHECKOUT,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(count: int, shift: float = 0.0) -> dict[str, Any]:
    data = np.random.default_rng(count).normal(size=(count, 3))
    data[:, 0] += shift
    return {"name": "x", "datatype": "FP32", "shape": [count, 3], "data": data.ravel().tolist()}


def explain(instance: Any, model: str = "line", **parameters: Any) -> httpx.Response:
    x = {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, -1, 0, 5]}
    return httpx.post(
        f"{instance.url}/v2/models/{model}/explain",
        json={"inputs": [x], "parameters": parameters},
        timeout=60,
    )


def explained(instance: Any, **parameters: Any) -> dict[str, Any]:
    found = explain(instance, **parameters)
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


def state(instance: Any, model: str) -> str:
    models = httpx.get(f"{instance.admin}/status", timeout=60).json()["models"]
    shown = httpx.get(f"{instance.admin}/console/data", timeout=60).json()["models"]
    (said,) = {each["explainer"] for each in (*models, *shown) if each["name"] == model}
    return str(said)


def test_its_explainer_starts_with_the_first_question(instance: Any) -> None:
    def members() -> list[dict[str, Any]]:
        return [each for each in instance.members("explainer") if each["model"] == "unasked"]

    assert (members(), state(instance, "unasked")) == ([], ON_DEMAND)
    assert explain(instance, "unasked").status_code == 200
    (member,) = members()
    assert state(instance, "unasked") == "ready"

    # One that is killed is not missed by anybody until the next question.
    os.kill(member["pid"], signal.SIGKILL)
    asked_at = time.monotonic()
    # Its connection may be known still.
    while explain(instance, "unasked").status_code != 200:
        assert time.monotonic() - asked_at < 60
    (another,) = members()
    assert another["pid"] != member["pid"]


def test_one_that_cannot_load_is_not_started_again_and_again(instance: Any) -> None:
    (instance.models / "gone" / "1" / "model.skops").unlink()
    refused = [explain(instance, "gone") for _ in range(3)]
    assert {answer.status_code for answer in refused} == {503}
    for answer in refused:
        assert "the explainer of model 'gone' could not be started" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) >= 1
    assert state(instance, "gone").startswith("could not be started")
    assert instance.log.read_text().count("model_load_failed") == 1
    assert httpx.get(f"{instance.url}/v2/health/ready", timeout=60).status_code == 200


def test_it_is_explained_over_http(instance: Any) -> None:
    body = explained(instance, n_samples=100)
    outputs = {output["name"]: output for output in body["outputs"]}
    assert body["parameters"] == {
        "method": "kernel_shap",
        "baseline": "zeros",
        "n_samples": 6,
        "n_features": 3,
        "target": "0,0",
    }
    found = np.array(outputs["attribution:x"]["data"]).reshape(2, 3)
    np.testing.assert_allclose(found, [[2, -2, 0], [-2, 0, 0]], atol=1e-6)
    assert outputs["baseline:x"]["data"] == [0.0] * 6
    np.testing.assert_allclose(outputs["convergence_delta"]["data"], [0, 0], atol=1e-6)


def test_it_is_explained_over_grpc(instance: Any) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 3])
    request = pb.ModelInferRequest(
        model_name="line",
        inputs=[tensor],
        raw_input_contents=[np.array([[1, 2, 3]], np.float32).tobytes()],
    )
    with grpc.insecure_channel(instance.grpc) as channel:
        call = channel.unary_unary(
            "/vigil.Explain/Explain",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer = call(request, timeout=60)
        raw = dict(zip([o.name for o in answer.outputs], answer.raw_output_contents, strict=True))
        assert answer.parameters["method"].string_param == "kernel_shap"
        np.testing.assert_allclose(np.frombuffer(raw["attribution:x"]), [2, -2, 0], atol=1e-6)
        request.parameters["method"].string_param = "magic"
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=60)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "use one of auto" in refused.value.details()


@pytest.mark.parametrize(
    ("parameters", "status", "sentence"),
    [
        ({"method": "integrated_gradients"}, 501, "use method kernel_shap"),
        ({"n_samples": 2}, 400, "n_samples must be at least 6"),
        ({"n_samples": "many"}, 400, "parameter n_samples must be a whole number"),
        ({"baseline": "mean"}, 400, "vigil profile"),
        ({"n_steps": 8}, 400, "takes n_samples"),
    ],
)
def test_what_cannot_be_is_said(
    instance: Any,
    parameters: dict[str, Any],
    status: int,
    sentence: str,
) -> None:
    answer = explain(instance, **parameters)
    assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text


def test_it_is_watched_against_its_first_rows(instance: Any, eventually: Eventually) -> None:
    url = f"{instance.url}/v2/models/line/findings"

    def said() -> dict[str, Any]:
        return httpx.get(url, timeout=60).json()

    def drifted() -> bool | None:
        verdicts = [f["breached"] for f in said()["findings"] if f["metric"] == "drifted_features"]
        return verdicts[0] if verdicts else None

    eventually("the monitor", lambda: "notes" in said())
    assert instance.infer("line", [rows(120)]).status_code == 200
    eventually("rows", lambda: "collecting reference: 120 of 200 rows" in said()["notes"][0])
    assert "120 of 200 rows" in vigil("findings", "line", "--url", instance.url)
    console = f"{instance.admin}/console/data"
    eventually(
        "the console", lambda: said()["notes"][0] in httpx.get(console, timeout=60).json()["notes"]
    )
    assert instance.infer("line", [rows(80)]).status_code == 200
    assert instance.infer("line", [rows(100)]).status_code == 200
    eventually("a window", lambda: drifted() is False)
    assert "first 200 rows since" in said()["notes"][0]
    assert instance.infer("line", [rows(100, shift=6.0)]).status_code == 200
    eventually("drift", drifted)

    address = ["--url", instance.url, "--admin-url", instance.admin]
    assert "0 of 200 rows" in vigil("findings", "line", "--reset-reference", *address)
    assert drifted() is None
    assert instance.infer("line", [rows(300, shift=6.0)]).status_code == 200
    eventually("a new reference", lambda: drifted() is False)
