"""A missing value comes in by every way, and explanations take what inferences take."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import skops.io
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from serving.models.repository.manifest import write_folder_manifest

pytestmark = pytest.mark.e2e

ROWS = np.array([[0.5, np.nan], [-2.0, 1.0], [np.nan, np.nan]])


@pytest.fixture(scope="module")
def estimator() -> Any:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    y = ((x[:, 0] > 0) ^ (np.arange(300) % 5 == 0)).astype(int)
    x[::5, 1] = np.nan
    return HistGradientBoostingClassifier(max_iter=20).fit(x, y)


@pytest.fixture(scope="module")
def server(
    estimator: Any, tmp_path_factory: pytest.TempPathFactory, running: Callable[..., Any]
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("gaps") / "models"
    finite = np.nan_to_num(ROWS)
    strict = LogisticRegression().fit(finite, [0, 1, 0])
    fitted = {"gaps": estimator, "strict": strict, "echo": FunctionTransformer().fit(finite)}
    for name, each in fitted.items():
        folder = root / name / "1"
        folder.mkdir(parents=True)
        skops.io.dump(each, folder / "model.skops")
        write_folder_manifest(folder)
        config: dict[str, Any] = {
            "format": "sklearn",
            "trust_code": True,
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP64",
                    "shape": [-1, 2],
                    "features": [{"name": "a", "min": -100, "max": 100}, {"name": "b"}],
                }
            ],
            "outputs": [{"name": "p", "datatype": "FP64", "shape": [-1, 2]}],
        }
        if name != "echo":
            config["outputs"][0]["classes"] = ["no", "yes"]
        if name == "gaps":
            request = {"inputs": [tensor(ROWS)]}
            (root / name / "example.json").write_text(json.dumps(request))
            config |= {"example": "example.json", "monitors": {"drift": {"reference": "live"}}}
        (root / name / "model.yaml").write_text(yaml.safe_dump(config))
    with running(root, tmp_path_factory.mktemp("run")) as started:
        yield started


def tensor(rows: np.ndarray) -> dict[str, Any]:
    data = [None if np.isnan(value) else value for value in rows.ravel().tolist()]
    return {"name": "x", "datatype": "FP64", "shape": list(rows.shape), "data": data}


def binary(rows: np.ndarray, **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of a request with its tensor in binary."""
    raw = rows.tobytes()
    described = {**tensor(rows), "parameters": {"binary_data_size": len(raw)}}
    del described["data"]
    head = json.dumps({"inputs": [described], **more}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


def test_every_way_gives_the_answer_of_the_estimator(server: Any, estimator: Any) -> None:
    wanted = estimator.predict_proba(ROWS)
    for _ in range(2):  # the second time it is recognised by what surrounds its numbers
        answer = server.infer("gaps", [tensor(ROWS)])
        assert answer.status_code == 200, answer.text
        got = np.array(answer.json()["outputs"][0]["data"]).reshape(-1, 2)
        np.testing.assert_array_equal(got, wanted)
    for library, address in (
        (tritonclient.http, f"127.0.0.1:{server.http_port}"),
        (tritonclient.grpc, server.grpc),
    ):
        with library.InferenceServerClient(address) as client:
            x = library.InferInput("x", ROWS.shape, "FP64")
            x.set_data_from_numpy(ROWS)
            np.testing.assert_array_equal(client.infer("gaps", [x]).as_numpy("p"), wanted)


def test_integers_and_tokens_stay_refused(server: Any) -> None:
    url = f"{server.url}/v2/models/gaps/infer"
    text = json.dumps({"inputs": [tensor(ROWS)]})
    for wrong in (text.replace("null", "NaN"), text.replace("FP64", "INT64")):
        answer = httpx.post(url, content=wrong, timeout=60)
        assert answer.status_code == 400, answer.text


def test_an_explanation_takes_and_gives_what_an_inference_does(
    server: Any, when_ready: Callable[..., httpx.Response]
) -> None:
    url = f"{server.url}/v2/models/gaps/explain"

    def explained(content: Any, headers: dict[str, str]) -> httpx.Response:
        return httpx.post(url, content=content, headers=headers, timeout=60)

    plain = json.dumps({"inputs": [tensor(ROWS)], "id": "why"}).encode()
    first = when_ready(lambda: explained(plain, {}))
    assert first.status_code == 200, first.text
    by_name = {output["name"]: output for output in first.json()["outputs"]}
    values = np.array(by_name["attribution:x"]["data"]).reshape(ROWS.shape)
    assert np.isfinite(values).all()
    assert first.headers["x-request-id"] == "why"

    raw = ROWS.tobytes()
    for content, headers in (
        binary(ROWS),
        binary(ROWS, parameters={"binary_data_output": True}),
        (raw, {"Inference-Header-Content-Length": "0"}),
    ):
        answer = explained(content, headers)
        length = answer.headers.get("inference-header-content-length")
        # Answers are as asked for; a raw request asks for binary.
        assert (length is not None) == (content == raw or b"binary_data_output" in content)
        told = json.loads(answer.content[: None if length is None else int(length)])
        (found,) = [o for o in told["outputs"] if o["name"] == "attribution:x"]
        if length is None:
            got = np.array(found["data"])
        else:
            assert told["outputs"][0] is not None
            assert told["outputs"][0]["name"] == "attribution:x"
            start = int(length)
            size = found["parameters"]["binary_data_size"]
            got = np.frombuffer(answer.content[start : start + size])
        np.testing.assert_allclose(got.reshape(ROWS.shape), values)


def test_what_a_model_does_not_take_is_the_clients_fault(
    server: Any, eventually: Callable[..., Any]
) -> None:
    row = np.array([[0.5, np.nan]])
    says = "input 'x': column 'b' holds NaN (null in JSON), which the model does not take"
    infinite = "input 'x': column 'a' holds infinity, which the model does not take"
    bodies = [
        (json.dumps({"inputs": [tensor(row)]}).encode(), {}, says),
        (*binary(row), says),
        (*binary(np.array([[-np.inf, 1.0]])), infinite),
    ]

    def refused(action: str) -> bool:
        for content, headers, told in bodies:
            url = f"{server.url}/v2/models/strict/{action}"
            answer = httpx.post(url, content=content, headers=headers, timeout=60)
            if answer.status_code == 503:
                return False
            assert answer.status_code == 400, answer.text
            assert told in answer.json()["error"]
        return True

    eventually("refusals", lambda: refused("infer"))
    eventually("refusals", lambda: refused("explain"))
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        x = tritonclient.grpc.InferInput("x", row.shape, "FP64")
        x.set_data_from_numpy(row)
        with pytest.raises(tritonclient.utils.InferenceServerException, match="'b' holds NaN") as e:
            client.infer("strict", [x])
        assert e.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert server.infer("strict", [tensor(np.ones((1, 2)))]).status_code == 200


def test_an_explanation_says_that_the_output_of_a_row_is_not_finite(
    server: Any, when_ready: Callable[..., httpx.Response]
) -> None:
    url = f"{server.url}/v2/models/echo/explain"
    body = {"inputs": [tensor(np.array([[0.5, 1.0], [0.5, np.nan]]))]}
    refused = when_ready(lambda: httpx.post(url, json=body, timeout=60))
    assert refused.status_code == 400, refused.text
    says = refused.json()["error"]
    assert "row 1: the model's output is not finite, and input 'x' holds NaN or infinity" in says
