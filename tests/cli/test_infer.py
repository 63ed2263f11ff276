import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.cli.infer import infer
from serving.errors import VigilError
from serving.protocol.json.codec import encode_response
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.protocol.pb import open_inference_pb2 as pb

PATH = "/v2/models/m/infer"
X = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
REQUEST = {"inputs": [{**X, "data": [1, None]}], "parameters": {"own": 1}}
SCORES = Tensor("y", "FP32", (1, 2), np.array([[0.25, np.nan]], np.float32))
WORDS = Tensor("w", "BYTES", (1,), np.array([b"\xff"], np.object_))


def answered(*outputs: Tensor, **parameters: Any) -> tuple[bytes, dict[str, str]]:
    """A body with these outputs in binary, and its headers."""
    asked = InferRequest("m", "", "r", (), parameters={"binary_data_output": True})
    response = InferResponse("m", "7", "r", outputs, parameters or None)
    body, length = encode_response(response, asked)
    return body, {"Inference-Header-Content-Length": str(length)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(REQUEST))
    return path


@pytest.fixture
def serves(instance) -> Any:
    """Starts an instance that answers inferences at a path with these outputs."""

    def start(*outputs: Tensor, path: str = PATH, **parameters: Any) -> Any:
        body, headers = answered(*outputs, **parameters)
        started = instance({path: (200, body)})
        started.headers = headers
        return started

    return start


def test_the_outputs_are_a_table_and_the_parameters_follow(
    capsys: pytest.CaptureFixture[str], serves, file: Path
) -> None:
    started = serves(SCORES, vigil_flags=["odd\x1b"])
    infer(url=started.url, as_json=False, model="m", data=file)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "model m version 7, request r"
    assert last == "vigil_flags: ['odd\\x1b']"
    (_, path, headers, body) = started.asked[0]
    assert path == PATH
    head = json.loads(body[: int(headers["inference-header-content-length"])])
    assert head["parameters"] == {"own": 1, "binary_data_output": True}
    assert head["id"]


def test_json_is_what_the_server_would_answer_in_json(
    capsys: pytest.CaptureFixture[str], serves, file: Path
) -> None:
    infer(url=serves(SCORES, own=1).url, as_json=True, model="m", data=file)
    assert json.loads(capsys.readouterr().out) == {
        "model_name": "m", "model_version": "7", "id": "r", "parameters": {"own": 1},
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.25, None]}],
    }  # fmt: skip


def test_bytes_that_are_no_text_are_asked_for_in_base64(
    capsys: pytest.CaptureFixture[str], serves, file: Path
) -> None:
    url = serves(WORDS).url
    with pytest.raises(VigilError, match="base64"):
        infer(url=url, as_json=True, model="m", data=file)
    wanted = [{"name": "w", "parameters": {"content_type": "base64"}}]
    file.write_text(json.dumps({**REQUEST, "outputs": wanted}))
    infer(url=url, as_json=True, model="m", data=file)
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    assert output["data"] == ["/w=="]


def test_the_version_is_asked_for(serves, file: Path) -> None:
    started = serves(SCORES, path="/v2/models/a%2Fb/versions/1%3F/infer")
    infer(url=started.url, as_json=True, model="a/b", data=file, version="1?")


def test_any_form_of_an_example_is_sent(serves, file: Path) -> None:
    values = np.array([1, 2], np.float32).tobytes()
    given = {**X, "parameters": {"binary_data_size": len(values)}}
    message = pb.ModelInferRequest(model_name="other", model_version="3", id="own")
    message.inputs.add(**X)
    message.raw_input_contents.append(values)
    forms = {
        json.dumps({"inputs": [given]}).encode() + values: PATH,
        bytes(message.SerializeToString()): "/v2/models/m/versions/3/infer",
    }
    for content, path in forms.items():
        file.write_bytes(content)
        started = serves(SCORES, path=path)
        infer(url=started.url, as_json=True, model="m", data=file)
        assert started.asked[0][3].endswith(values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "message"),
        (b"{", "truncated"),
        (b'{"inputs": []}', "inputs"),
        (json.dumps({"inputs": [{**X, "data": [1]}]}).encode(), "input 'x'"),
        (json.dumps({**REQUEST, "parameters": {"triton_a": 1}}).encode(), "triton_a"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_sentence(
    file: Path, content: bytes, words: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(VigilError, match=words) as raised:
        infer(url="http://127.0.0.1:1", as_json=False, model="m", data=file)
    assert raised.value.message.startswith(f"{file}: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(VigilError, match=f"{path}: {words}.*--data"):
            infer(url="http://127.0.0.1:1", as_json=False, model="m", data=path)


def test_what_the_server_says_is_what_is_said(instance, file: Path) -> None:
    url = instance({PATH: (404, b'{"error": "Request for unknown model: \'m\'"}')}).url
    with pytest.raises(VigilError) as raised:
        infer(url=url, as_json=False, model="m", data=file)
    assert raised.value.message == "Request for unknown model: 'm'"


def test_an_answer_that_is_none(instance, file: Path) -> None:
    url = instance({PATH: (200, b"<html>")}).url
    with pytest.raises(VigilError, match=f"{url}{PATH} is not Vigil"):
        infer(url=url, as_json=False, model="m", data=file)


@pytest.mark.parametrize("missing", ["tritonclient", "tritonclient.http", "geventhttpclient"])
def test_without_triton_s_client_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, file: Path, missing: str
) -> None:
    for name in list(sys.modules):
        if name.startswith(("tritonclient", "geventhttpclient", "serving.cli.infer_codec")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("serving.cli.infer_codec", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(VigilError, match=r"needs Triton's client; install vigil\[client\]"):
        infer(url="http://127.0.0.1:1", as_json=False, model="m", data=file)
