"""Both wires against the codecs of our own server: what one writes the other reads."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.channel.messages.inference import Passthrough
from serving.errors import ModelFailed
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.json import codec as json_codec
from serving.protocol.messages import InferRequest, InferResponse, Tensor
from serving.protocol.pb import open_inference_pb2 as pb
from serving.remote.grpc.wire import GrpcWire
from serving.remote.http.wire import LENGTH, HttpWire
from serving.remote.wire import Answer

FORWARD = Passthrough({"colour": "red", "deep": 3, "on": True}, {"x": {"content_type": "np"}})
WIRES = ["grpc", "binary", "json"]


def tensor_of(datatype: str, name: str = "x") -> Tensor:
    if datatype == "BYTES":
        data = np.array([[b"a", b""], ["ö".encode(), b"c\0d"]], object)
    else:
        data = np.array([[0, 1], [1, 0]]).astype(NUMPY_OF[datatype])
    return Tensor(name, datatype, (2, 2), data)


def as_server_reads(kind: str, tensors: list[Tensor]) -> InferRequest:
    if kind == "grpc":
        return grpc_codec.decode_request(GrpcWire().infer("m", "3", FORWARD, tensors).body)
    call = HttpWire(binary=kind == "binary").infer("m", "3", FORWARD, tensors)
    assert call.path == "/v2/models/m/versions/3/infer"
    length = call.headers.get(LENGTH)
    return json_codec.decode_request(call.body, length and int(length), "m", "3")


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("datatype", NUMPY_OF)
def test_the_server_reads_what_is_asked(kind, datatype):
    sent = [tensor_of(datatype), tensor_of("INT8", "other")]
    read = as_server_reads(kind, sent)
    for got, right in zip(read.inputs, sent, strict=True):
        assert (got.name, got.datatype, got.shape) == (right.name, right.datatype, right.shape)
        np.testing.assert_array_equal(got.data, right.data)
    assert FORWARD.parameters.items() <= read.parameters.items()
    assert read.inputs[0].parameters == FORWARD.inputs["x"]


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("datatype", NUMPY_OF)
def test_what_the_server_answers_is_read(kind, datatype):
    sent = [tensor_of("FP64", "first"), tensor_of(datatype)]
    parameters = {"binary_data_output": True} if kind == "binary" else None
    request = InferRequest("m", "", "id", (), parameters=parameters)
    response = InferResponse("m", "1", "id", tuple(sent))
    if kind == "grpc":
        body = grpc_codec.encode_response(response, request).SerializeToString()
        read = GrpcWire().read_infer(Answer(body)).tensors
    else:
        answer = Answer(*json_codec.encode_response(response, request))
        read = HttpWire(binary=kind == "binary").read_infer(answer).tensors
    for got, right in zip(read, sent, strict=True):
        assert (got.name, got.datatype, got.shape) == (right.name, right.datatype, right.shape)
        np.testing.assert_array_equal(got.data, right.data)


@pytest.mark.parametrize("kind", WIRES)
def test_parameters_of_answers_are_read(kind):
    said = {"triton_x": True, "n": -3, "f": 0.5, "t": "ö", "big": 2**64 - 1}
    y = Tensor("y", "FP32", (1,), np.ones(1, np.float32), {"content_type": "np"})
    request = InferRequest("m", "", "id", (), parameters={"binary_data_output": kind == "binary"})
    response = InferResponse("m", "1", "id", (y,), said)
    if kind == "grpc":
        message = grpc_codec.encode_response(response, request)
        message.parameters["empty"].Clear()
        read = GrpcWire().read_infer(Answer(message.SerializeToString()))
    else:
        body, length = json_codec.encode_response(response, request)
        odd = b'"parameters":{"none":null,"list":[1],"huge":18446744073709551616,'
        body = body[: length or None].replace(b'"parameters":{"triton_x"', odd + b'"triton_x"') + (
            body[length:] if length else b""
        )
        length = length and length + len(odd) - len(b'"parameters":{')
        read = HttpWire(binary=kind == "binary").read_infer(Answer(body, length))
    assert read.parameters == said
    assert read.tensors[0].parameters == {"content_type": "np"}


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("version", ["", "2", "v0.1.0"])
def test_the_version_of_an_answer_is_read(kind, version):
    y = Tensor("y", "FP32", (1,), np.ones(1, np.float32))
    request = InferRequest("m", "", "id", (), parameters={"binary_data_output": kind == "binary"})
    response = InferResponse("m", version, "id", (y,))
    if kind == "grpc":
        body = grpc_codec.encode_response(response, request).SerializeToString()
        read = GrpcWire().read_infer(Answer(body))
    else:
        answer = Answer(*json_codec.encode_response(response, request))
        read = HttpWire(binary=kind == "binary").read_infer(answer)
    assert read.version == version


def test_typed_contents_are_read_too():
    sent = tensor_of("INT64")
    response = InferResponse("m", "1", "id", (sent,))
    asked = InferRequest("m", "", "id", (), (), {"binary_data_output": False})
    body = grpc_codec.encode_response(response, asked)
    assert not body.raw_output_contents
    (got,) = GrpcWire().read_infer(Answer(body.SerializeToString())).tensors
    np.testing.assert_array_equal(got.data, sent.data)


def test_large_tensors_are_views_on_the_answer():
    sent = Tensor("y", "FP32", (1000, 100), np.ones((1000, 100), np.float32))
    request = InferRequest("m", "", "id", ())
    message = grpc_codec.encode_response(InferResponse("m", "1", "id", (sent,)), request)
    body = message.SerializeToString()
    (got,) = GrpcWire().read_infer(Answer(body)).tensors
    where = got.data.__array_interface__["data"][0]
    start = np.frombuffer(body, np.uint8).__array_interface__["data"][0]
    assert start <= where < start + len(body)


@given(st.binary(max_size=200))
def test_noise_is_a_failure_of_the_other_server(noise):
    for wire in (GrpcWire(), HttpWire(binary=True)):
        for read in (wire.read_infer, wire.read_metadata, wire.read_index, wire.read_config):
            with contextlib.suppress(ModelFailed):  # and nothing else
                read(Answer(noise))


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_answer_is_a_failure_of_the_other_server(at, byte):
    request = InferRequest("m", "", "id", ())
    response = InferResponse("m", "1", "id", (tensor_of("FP32"), tensor_of("BYTES", "z")))
    body = bytearray(grpc_codec.encode_response(response, request).SerializeToString())
    body[at % len(body)] = byte
    with contextlib.suppress(ModelFailed):
        GrpcWire().read_infer(Answer(bytes(body)))


def test_triton_configuration_is_read_from_both():
    config = {
        "max_batch_size": 8,
        "input": [{"name": "x", "optional": True}, {"name": "z"}],
        "sequence_batching": {},
        "model_transaction_policy": {"decoupled": True},
    }
    over_http = HttpWire(binary=True).read_config(Answer(json.dumps(config).encode()))
    message = pb.ModelConfigResponse()
    message.config.max_batch_size = 8
    message.config.input.add(name="x", optional=True)
    message.config.input.add(name="z")
    inner = message.config.SerializeToString() + b"\x6a\x00" + b"\x9a\x01\x02\x08\x01"
    over_grpc = GrpcWire().read_config(Answer(b"\x0a" + bytes([len(inner)]) + inner))
    assert over_grpc == over_http
    assert over_http.optional == ("x",)
    assert over_http.stateful
    assert over_http.decoupled
