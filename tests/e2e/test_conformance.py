"""One suite for every combination of engine, ingress and transport, with real clients."""

import gzip
import json
import queue
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from serving.config import load_model
from serving.models.profile.dataset import read_dataset
from serving.protocol.pb import health_pb2

pytestmark = pytest.mark.e2e
ROW = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 0.0, 2.0, 3.0]}


@pytest.fixture(scope="module")
def digits(demo_root: Path) -> tuple[np.ndarray, np.ndarray]:
    dataset = read_dataset(
        demo_root / "digits" / "1" / "test.parquet", load_model(demo_root / "digits")
    )
    assert dataset.y_true is not None
    return dataset.inputs["image"], dataset.y_true.astype(int)


def grpc_infer(instance: Any, images: np.ndarray, **options: Any) -> np.ndarray:
    given = tritonclient.grpc.InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images)
    with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
        return client.infer("digits", [given], **options).as_numpy("probabilities")


def http_infer(instance: Any, images: np.ndarray, binary: bool) -> np.ndarray:
    given = tritonclient.http.InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images, binary_data=binary)
    wanted = tritonclient.http.InferRequestedOutput("probabilities", binary_data=binary)
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as client:
        return client.infer("digits", [given], outputs=[wanted]).as_numpy("probabilities")


def test_digits_are_recognised_over_every_transport(
    instance: Any, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, truth = digits
    raw = grpc_infer(instance, images)
    assert (raw.argmax(1) == truth).mean() >= 0.95
    np.testing.assert_array_equal(http_infer(instance, images, binary=True), raw)
    np.testing.assert_array_equal(http_infer(instance, images, binary=False), raw)


def test_typed_contents_answer_as_raw_ones(
    instance: Any, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images = digits[0][:2]
    message = service_pb2.ModelInferRequest(model_name="digits")
    tensor = message.inputs.add(name="image", datatype="FP32", shape=list(images.shape))
    tensor.contents.fp32_contents.extend(images.ravel().tolist())
    with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
        answer = client._client_stub.ModelInfer(message)
        message.outputs.add(name="probabilities").parameters["binary_data"].bool_param = False
        asked = client._client_stub.ModelInfer(message)
    expected = grpc_infer(instance, images)
    assert answer.raw_output_contents[0] == expected.tobytes()
    typed = np.array(asked.outputs[0].contents.fp32_contents, np.float32).reshape(2, 10)
    np.testing.assert_array_equal(typed, expected)


def test_health_and_metadata_agree_on_both_transports(instance: Any) -> None:
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
    ):
        for client in (http, rpc):
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("digits")
            assert client.is_model_ready("digits", "1")
        server = http.get_server_metadata()
        assert server["name"] == rpc.get_server_metadata().name == "vigil"
        assert "binary_tensor_data" in server["extensions"]
        model = http.get_model_metadata("cancer")
        same = rpc.get_model_metadata("cancer", as_json=True)
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 30]}]
    assert [t["name"] for t in same["outputs"]] == [t["name"] for t in model["outputs"]]
    assert same["inputs"][0]["shape"] == ["-1", "30"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v2/models/none/infer", {"inputs": [ROW]}, 404, "Request for unknown model"),
        ("/v2/models/lab/versions/9/infer", {"inputs": [ROW]}, 404, "version '9'"),
        ("/v2/models/lab/infer", {"inputs": []}, 400, "input"),
        ("/v2/models/lab/infer", {"inputs": [{**ROW, "name": "z"}]}, 400, "unexpected input 'z'"),
        ("/v2/models/lab/infer", {"inputs": [{**ROW, "datatype": "FP31"}]}, 400, "FP31"),
        ("/v2/models/lab/infer", {"inputs": [{**ROW, "datatype": "FP64"}]}, 400, "FP64"),
        ("/v2/models/lab/infer", {"inputs": [{**ROW, "shape": [2, 4]}]}, 400, "'x'"),
        ("/v2/models/lab/infer", {"inputs": [{**ROW, "shape": [4, 1]}]}, 400, "shape"),
        ("/v2/models/lab/infer", {"inputs": [ROW], "outputs": [{"name": "q"}]}, 400, "'q'"),
        ("/v2/models/lab/infer", {"inputs": [ROW], "parameters": {"triton_x": 1}}, 400, "triton_"),
        ("/v2/models/lab/infer", {"inputs": [ROW], "parameters": {"timeout": -1}}, 400, "timeout"),
        ("/v2/nothing", {}, 404, "no such path"),
        ("/elsewhere", {}, 404, "no such path"),
    ],
)
def test_wrong_requests_get_one_clear_sentence(
    instance: Any, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    answer = httpx.post(instance.url + path, json=body, timeout=60)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert text in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null", b'{"inputs": [{}]}'])
def test_broken_json_is_refused(instance: Any, body: bytes) -> None:
    answer = httpx.post(f"{instance.url}/v2/models/lab/infer", content=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert instance.infer("lab", [ROW]).status_code == 200


def test_grpc_errors_carry_code_and_sentence(instance: Any) -> None:
    images = np.zeros((1, 1, 8, 8), np.float32)
    given = tritonclient.grpc.InferInput("image", [1, 1, 8, 8], "FP32")
    given.set_data_from_numpy(images)
    with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
        with pytest.raises(InferenceServerException, match="Request for unknown model") as caught:
            client.infer("none", [given])
        assert "NOT_FOUND" in str(caught.value.status())
        wrong = tritonclient.grpc.InferInput("image", [1, 8, 8], "FP32")
        wrong.set_data_from_numpy(images[0])
        with pytest.raises(InferenceServerException, match="shape") as caught:
            client.infer("digits", [wrong])
        assert "INVALID_ARGUMENT" in str(caught.value.status())


def test_ids_are_echoed_or_made(instance: Any) -> None:
    answer = instance.infer("lab", [ROW], id="mine")
    assert answer.json()["id"] == "mine"
    assert answer.headers["x-request-id"] == "mine"
    made = instance.infer("lab", [ROW]).json()["id"]
    assert len(made) == 36


def test_versioned_url_and_requested_output(instance: Any) -> None:
    answer = httpx.post(
        f"{instance.url}/v2/models/lab/versions/1/infer/",
        json={"inputs": [ROW], "outputs": [{"name": "y"}]},
        timeout=60,
    ).json()
    assert answer["model_version"] == "1"
    assert [output["name"] for output in answer["outputs"]] == ["y"]
    assert answer["outputs"][0]["shape"] == [1, 3]


def test_raw_request_and_compressed_request_answer_as_json_does(instance: Any) -> None:
    plain = instance.infer("lab", [ROW]).json()["outputs"][0]["data"]
    row = np.array(ROW["data"], np.float32)
    url = f"{instance.url}/v2/models/lab/infer"
    raw = httpx.post(
        url, content=row.tobytes(), headers={"inference-header-content-length": "0"}, timeout=60
    )
    assert raw.status_code == 200, raw.text
    length = int(raw.headers["inference-header-content-length"])
    np.testing.assert_array_equal(
        np.frombuffer(raw.content[length:], np.float32), np.array(plain, np.float32)
    )
    packed = httpx.post(
        url,
        content=gzip.compress(json.dumps({"inputs": [ROW]}).encode()),
        headers={"content-encoding": "gzip"},
        timeout=60,
    )
    assert packed.json()["outputs"][0]["data"] == plain


def test_a_deadline_is_answered_on_time(instance: Any, close_gate: Any) -> None:
    slow = {**ROW, "data": [1.0, close_gate(instance).row, 0.0, 0.0]}  # nothing else ends it
    answer = instance.infer("lab", [slow], parameters={"timeout": 200_000})
    assert answer.status_code == 504
    assert "deadline" in answer.json()["error"]


def test_the_model_s_own_error_keeps_its_message_and_no_traceback(instance: Any) -> None:
    answer = instance.infer("lab", [{**ROW, "data": [666.0, 0.0, 0.0, 0.0]}])
    assert answer.status_code == 500
    assert "poison row" in answer.json()["error"]
    assert "lab" in answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "digits"])
def test_grpc_health(instance: Any, service: str) -> None:
    with grpc.insecure_channel(instance.grpc) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        reply = check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.not_on("serve", reason="its gRPC proxy offers no streams from clients")
def test_a_stream_answers_in_order_and_survives_an_error(
    instance: Any, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images = digits[0][:40]
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(40):
            given = tritonclient.grpc.InferInput("image", [1, 1, 8, 8], "FP32")
            given.set_data_from_numpy(images[number : number + 1])
            model = "none" if number == 7 else "digits"
            client.async_stream_infer(model, [given], request_id=str(number))
        got = [answers.get(timeout=60) for _ in range(40)]
        client.stop_stream()
    assert "Request for unknown model" in str(got[7][1])
    results = [result for result, _ in got[:7] + got[8:]]
    assert [r.get_response().id for r in results] == [str(n) for n in range(40) if n != 7]
    whole = grpc_infer(instance, np.delete(images, 7, axis=0))
    np.testing.assert_array_equal(
        np.concatenate([result.as_numpy("probabilities") for result in results]), whole
    )


def test_classes_are_the_same_over_both_transports(
    instance: Any, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images = digits[0][:5]
    best = grpc_infer(instance, images).argmax(1)
    http_input = tritonclient.http.InferInput("image", list(images.shape), "FP32")
    grpc_input = tritonclient.grpc.InferInput("image", list(images.shape), "FP32")
    for given in (http_input, grpc_input):
        given.set_data_from_numpy(images)
    http_output = tritonclient.http.InferRequestedOutput("probabilities", class_count=3)
    grpc_output = tritonclient.grpc.InferRequestedOutput("probabilities", class_count=3)
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
    ):
        over_http = http.infer("digits", [http_input], outputs=[http_output])
        over_grpc = rpc.infer("digits", [grpc_input], outputs=[grpc_output])
    texts = over_http.as_numpy("probabilities")
    assert texts.shape == (5, 3)
    assert [int(row[0].split(b":")[1]) for row in texts] == best.tolist()
    np.testing.assert_array_equal(texts, over_grpc.as_numpy("probabilities"))


def test_statistics_configuration_and_index_agree_on_both_transports(instance: Any) -> None:
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
    ):
        # What an earlier test gave up may still be computing. Its replica takes batches one after
        # the other, so once this is answered nothing else is to be counted.
        assert instance.infer("lab", [ROW]).status_code == 200
        before = http.get_inference_statistics("lab")["model_stats"][0]
        assert instance.infer("lab", [ROW]).status_code == 200
        after = http.get_inference_statistics("lab", "1")["model_stats"][0]
        same = rpc.get_inference_statistics("lab").model_stats[0]
        everything = http.get_inference_statistics()["model_stats"]
        config = http.get_model_config("digits")
        over_grpc = rpc.get_model_config("digits").config
        listed = http.get_model_repository_index()
        over_rpc = rpc.get_model_repository_index().models
    if instance.ingress != "serve":  # else several processes count, and any of them answers
        assert after["inference_count"] == before["inference_count"] + 1 == same.inference_count
        assert after["inference_stats"]["compute_infer"]["ns"] > 0
    served = {path.parent.name for path in instance.models.glob("*/model.yaml")}
    assert {model["name"] for model in everything} == served >= {"cancer", "digits", "lab", "loans"}
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] == list(over_grpc.input[0].dims) == [1, 8, 8]
    assert config["max_batch_size"] == over_grpc.max_batch_size
    assert [(m["name"], m["state"]) for m in listed] == [(m.name, m.state) for m in over_rpc]
    assert {m["state"] for m in listed} == {"READY"}
