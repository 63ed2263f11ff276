"""Compressed answers as real clients ask for them and read them, through both own ingresses."""

from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from serving.protocol.pb import open_inference_pb2 as pb

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.not_on("serve", reason="Serve's proxy compresses and streams in its own way"),
]
ROWS = np.tile(np.array([1, 0, 2, 3], np.float32), (1000, 1))


@pytest.fixture
def server(shared_lab: Any) -> Any:
    return shared_lab


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_over_http(server: Any, algorithm: str, binary: bool) -> None:
    given = tritonclient.http.InferInput("x", ROWS.shape, "FP32")
    given.set_data_from_numpy(ROWS, binary_data=binary)
    wanted = tritonclient.http.InferRequestedOutput("y", binary_data=binary)
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:
        plain = client.infer("lab", [given], outputs=[wanted])
        packed = client.infer(
            "lab", [given], outputs=[wanted],
            request_compression_algorithm=algorithm, response_compression_algorithm=algorithm,
        )  # fmt: skip
    np.testing.assert_array_equal(packed.as_numpy("y"), plain.as_numpy("y"))


def test_what_is_on_the_wire(server: Any) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": list(ROWS.shape)}
    body = {"inputs": [{**tensor, "data": ROWS.ravel().tolist()}]}
    url = f"{server.url}/v2/models/lab/infer"
    answer = httpx.post(url, json=body, headers={"accept-encoding": "gzip"}, timeout=60)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) < len(answer.content) / 2
    assert answer.json()["outputs"][0]["shape"] == [1000, 3]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_over_grpc(server: Any, algorithm: str) -> None:
    given = tritonclient.grpc.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        plain = client.infer("lab", [given]).as_numpy("y")
        packed = client.infer("lab", [given], compression_algorithm=algorithm).as_numpy("y")
    np.testing.assert_array_equal(packed, plain)


@pytest.mark.parametrize("stream", [False, True])
def test_a_channel_that_compresses(server: Any, stream: bool) -> None:
    request = pb.ModelInferRequest(model_name="lab")
    request.inputs.add(name="x", datatype="FP32", shape=ROWS.shape)
    request.raw_input_contents.append(ROWS.tobytes())
    with grpc.insecure_channel(server.grpc, compression=grpc.Compression.Gzip) as channel:
        if stream:
            call = channel.stream_stream(
                "/inference.GRPCInferenceService/ModelStreamInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelStreamInferResponse.FromString,
            )(iter([request, request]), timeout=60)
            answers = [answer.infer_response for answer in call]
        else:
            unary = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answers = [unary(request, timeout=60)]
    assert len(answers) == 1 + stream
    for answer in answers:
        assert np.frombuffer(answer.raw_output_contents[0], np.float32).shape == (3000,)


def test_methods_through_the_front(server: Any) -> None:
    for path in ("/v2", "/v2/health/ready/", "/v2/models/lab/stats"):
        head, get = (
            httpx.head(server.url + path, timeout=60),
            httpx.get(server.url + path, timeout=60),
        )
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(get.content))
        options = httpx.options(server.url + path, timeout=60)
        assert (options.status_code, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS")
        wrong = httpx.put(server.url + path, timeout=60)
        assert (wrong.status_code, list(wrong.json())) == (405, ["error"])
