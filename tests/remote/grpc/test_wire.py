"""Messages of the gRPC wire that are split here, byte by byte, and not by protobuf."""

from __future__ import annotations

import numpy as np
import pytest

from serving.errors import ModelFailed
from serving.protocol.messages import Tensor
from serving.protocol.pb import open_inference_pb2 as pb
from serving.remote.grpc.wire import SERVICE, GrpcWire
from serving.remote.wire import NOTHING, Answer, Listed

RAW = b"\x32\x04\0\0\x80?"


def head(count=1):
    message = pb.ModelInferResponse(model_version="2")
    for number in range(count):
        message.outputs.add(name=f"y{number}", datatype="FP32", shape=[1])
    return message.SerializeToString()


@pytest.mark.parametrize(
    "unknown", [b"", b"\xa0\x06\x01", b"\xa1\x06" + b"\0" * 8, b"\xa5\x06abcd"]
)
def test_fields_of_every_kind_are_passed_over(unknown):
    read = GrpcWire().read_infer(Answer(head(2) + RAW + unknown + RAW))
    assert [tensor.data.tolist() for tensor in read.tensors] == [[1.0], [1.0]]
    assert read.version == "2"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (head(2) + RAW, "1 raw contents for 2 outputs"),
        (head() + RAW + RAW, "2 raw contents for 1 outputs"),
        (head() + RAW[:-1], "it ends within a field"),
        (head() + b"\x33", "unknown kind 3"),
        (head() + b"\x32\x80", "index out of range"),
        (head() + b"\x32\x03abc", "needs 4 bytes, not 3"),
        (head() + b"\x32\x84" + b"\x80" * 9 + b"\0" + RAW[2:], "a number has no end"),
        (head() + b"\xb2" + b"\x80" * 9 + b"\0" + RAW[1:], "a number has no end"),
        (head() + b"\xa0\x06" + b"\xff" * 10 + b"\x01" + RAW, "a number has no end"),
    ],
)
def test_answers_that_are_none(body, why):
    with pytest.raises(ModelFailed, match=why):
        GrpcWire().read_infer(Answer(body))


def test_a_number_may_be_written_with_all_of_ten_bytes():
    longest = b"\x32\x84" + b"\x80" * 8 + b"\0"
    (read,) = GrpcWire().read_infer(Answer(head() + longest + RAW[2:])).tensors
    assert read.data.tolist() == [1.0]


@pytest.mark.parametrize("raw", [True, False])
def test_parameters_of_an_output_are_kept(raw):
    message = pb.ModelInferResponse()
    given = message.outputs.add(name="y", datatype="FP32", shape=[1])
    other = message.outputs.add(name="z", datatype="FP32", shape=[1])
    given.parameters["a"].int64_param = 7
    given.parameters["odd"].Clear()
    for output in () if raw else (given, other):
        output.contents.fp32_contents.append(1)
    read = GrpcWire().read_infer(Answer(message.SerializeToString() + RAW * 2 * raw))
    assert [tensor.parameters for tensor in read.tensors] == [{"a": 7}, None]


@pytest.mark.parametrize("size", [0, 127, 128, 40_000])
def test_raw_contents_of_any_size_are_asked(size):
    x = Tensor("x", "UINT8", (size,), np.ones(size, np.uint8))
    call = GrpcWire().infer("m", "1", NOTHING, [x])
    assert call.path == SERVICE + "ModelInfer"
    assert pb.ModelInferRequest.FromString(call.body).raw_input_contents == [b"\1" * size]


def test_a_configuration_that_ends_within_a_field_is_none():
    inner = b"\x9a\x01\x02\x08\x01"  # model_transaction_policy
    whole = b"\x0a" + bytes([len(inner)]) + inner
    assert GrpcWire().read_config(Answer(whole)).decoupled
    with pytest.raises(ModelFailed, match="model configuration cannot be read"):
        GrpcWire().read_config(Answer(whole + b"\x12" + b"\x80" * 10 + b"\0"))
    with pytest.raises(ModelFailed, match="model configuration cannot be read"):
        GrpcWire().read_config(Answer(whole[:-1]))


def test_an_index_is_read():
    message = pb.RepositoryIndexResponse()
    message.models.add(name="m", version="1", state="READY", reason="r")
    read = GrpcWire().read_index(Answer(message.SerializeToString()))
    assert read == [Listed("m", "1", "READY", "r")]
