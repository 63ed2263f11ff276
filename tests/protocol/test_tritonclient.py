"""What tritonclient sends is read, and what we answer is read by tritonclient."""

import json
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2

from serving.protocol.bytes_tensor import object_array
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.json import codec as json_codec
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor

PAYLOADS = Path(__file__).parents[1] / "testdata" / "tritonclient"
LENGTHS = json.loads((PAYLOADS / "json_lengths.json").read_text())

OUTPUTS = (
    Tensor("y", "FP32", (1, 2), np.array([[0.1, -3]], np.float32)),
    Tensor("h", "FP16", (2,), np.array([0.5, 65504], np.float16)),
    Tensor("n", "UINT64", (1,), np.array([2**64 - 1], np.uint64)),
    Tensor("b", "BOOL", (2, 1), np.array([[True], [False]])),
    Tensor("s", "BYTES", (2,), object_array(["grün".encode(), b""], (2,))),
)
RESPONSE = InferResponse("m", "1", "id", OUTPUTS)


def assert_golden(request):
    assert (request.model_name, request.model_version, request.id) == ("m", "1", "golden")
    assert request.parameters == {"timeout": 5000}
    assert [output.name for output in request.outputs] == ["y"]
    x, colour, flag = request.inputs
    assert (x.name, x.datatype, x.data.tolist()) == ("x", "FP32", [[0.5, -1.25, 3.0]])
    assert (colour.datatype, colour.data.tolist()) == ("BYTES", [[b"red", "grün".encode()]])
    assert (flag.datatype, flag.data.tolist()) == ("BOOL", [[True], [False]])


@pytest.mark.parametrize("name", ["http_binary", "http_json"])
def test_golden_http(name):
    body = (PAYLOADS / f"{name}.bin").read_bytes()
    assert_golden(json_codec.decode_request(body, LENGTHS[name], "m", "1"))


def test_golden_grpc():
    assert_golden(grpc_codec.decode_request((PAYLOADS / "grpc.bin").read_bytes()))


# tritonclient itself sends FP16 in binary only.
FORMS = [(t, b) for t in OUTPUTS for b in (True, False) if b or t.datatype != "FP16"]


@pytest.mark.parametrize(("tensor", "binary"), FORMS)
def test_http_input(tensor, binary):
    one = triton_http.InferInput("x", list(tensor.shape), tensor.datatype)
    one.set_data_from_numpy(tensor.data, binary_data=binary)
    body, length = triton_http.InferenceServerClient.generate_request_body([one])
    got = json_codec.decode_request(body, length, "m", "").inputs[0]
    assert got.data.tolist() == tensor.data.tolist()


@pytest.mark.parametrize("binary", [True, False])
def test_http_result(binary):
    request = InferRequest("m", "1", "id", (), (), {"binary_data_output": binary})
    body, length = json_codec.encode_response(RESPONSE, request)
    result = triton_http.InferResult.from_response_body(body, header_length=length)
    for tensor in OUTPUTS:
        got = result.as_numpy(tensor.name)
        expected = tensor.data.tolist()
        if tensor.datatype == "BYTES" and not binary:
            expected = [element.decode() for element in expected]
        assert got.tolist() == expected
        assert got.shape == tensor.shape


def test_http_result_in_both_forms():
    asked = (RequestedOutput("y", {"binary_data": True}), RequestedOutput("b"))
    body, length = json_codec.encode_response(RESPONSE, InferRequest("m", "1", "id", (), asked))
    result = triton_http.InferResult.from_response_body(body, header_length=length)
    assert result.as_numpy("y").tolist() == OUTPUTS[0].data.tolist()
    assert result.as_numpy("b").tolist() == OUTPUTS[3].data.tolist()


def test_grpc_result():
    message = grpc_codec.encode_response(RESPONSE, InferRequest("m", "1", "id", ()))
    theirs = service_pb2.ModelInferResponse.FromString(message.SerializeToString())
    result = triton_grpc.InferResult(theirs)
    for tensor in OUTPUTS:
        assert result.as_numpy(tensor.name).tolist() == tensor.data.tolist()
