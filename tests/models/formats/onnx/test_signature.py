from contextlib import suppress

import numpy as np
import pytest

from serving.config import ConfigError
from serving.models.formats import protobuf_walk
from serving.models.formats.onnx.signature import read_onnx_signature
from serving.models.signature import Tensor

onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
TensorProto, helper = onnx.TensorProto, onnx.helper


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(inputs, outputs, weights=()):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    arrays = [onnx.numpy_helper.from_array(np.ones((300, 2), np.float32), n) for n in weights]
    made = helper.make_graph(nodes, "g", inputs, outputs, arrays)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def read(tmp_path):
    def write(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return read_onnx_signature(path)

    return write


def test_names_datatypes_and_shapes(read):
    kind = TensorProto.INT64
    inputs = [value("x", ["rows", 3, None, "free"]), value("z", [None, 2**40], kind)]
    found = read(graph(inputs, [value("y", [None, -1])]))
    assert found.inputs == [
        Tensor("x", "FP32", [None, 3, None, None]), Tensor("z", "INT64", [None, 2**40])
    ]  # fmt: skip
    assert found.outputs == [Tensor("y", "FP32", [None, None])]


def test_weights_are_no_inputs_and_features_no_output(read):
    inputs = [value("w", [300, 2]), value("x", ["rows", 3])]
    outputs = [value("features", ["rows", 3]), value("y", ["rows", 3])]
    found = read(graph(inputs, outputs, ["other", "w"]))
    assert [tensor.name for tensor in found.inputs] == ["x"]
    assert [tensor.name for tensor in found.outputs] == ["y"]


def test_what_the_graph_does_not_tell(read):
    table = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    odd = helper.make_value_info("odd", table)
    found = read(graph([value("x", None)], [odd, value("scalar", [])]))
    assert found.inputs == [Tensor("x", "FP32", None)]
    assert found.outputs == [Tensor("odd", None, None), Tensor("scalar", "FP32", [])]


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        ("BOOL", "BOOL"), ("UINT8", "UINT8"), ("UINT16", "UINT16"), ("UINT32", "UINT32"),
        ("UINT64", "UINT64"), ("INT8", "INT8"), ("INT16", "INT16"), ("INT32", "INT32"),
        ("INT64", "INT64"), ("FLOAT16", "FP16"), ("FLOAT", "FP32"), ("DOUBLE", "FP64"),
        ("STRING", "BYTES"), ("BFLOAT16", None), ("COMPLEX64", None),
    ],
)  # fmt: skip
def test_datatypes(read, kind, datatype):
    found = read(graph([value("x", ["n"], getattr(TensorProto, kind))], [value("y", ["n"])]))
    assert found.inputs[0].datatype == datatype


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds none"),
        (b"weights", "a part ends where it should not|cut short"),
        (b"\x3a", "cut short"),
        (b"\x3a\x05", "ends where it should not"),
        (b"\x80" * 20, "a number has no end"),
        (b"\x3b\x3c", "ends where it should not"),
        (b"\x38\x01", "a number stands"),
        (b"\x3a\x04\x5a\x02\x0a\x05", "ends where it should not"),
        (b"\x3a\x04\x5a\x02\x08\x05", "a name"),
        (b"\x3a\x05\x5a\x03\x0a\x01\xff", "a name is no text"),
        (b"\x3a\x04\x5a\x02\x10\x01", "a number stands"),
    ],
)
def test_what_is_no_graph_is_a_sentence(read, content, why):
    with pytest.raises(ConfigError, match=f"is no ONNX graph: .*({why})"):
        read(content)


def test_every_cut_and_every_broken_byte_is_a_sentence_or_harmless(read):
    whole = graph([value("x", ["rows", 3])], [value("y", ["rows", 3])]).SerializeToString()
    for place in range(len(whole)):
        for broken in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            with suppress(ConfigError):
                read(broken)


def field(number, content):
    size, length = len(content), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (field(7, b"\x2a\x00" * 200_000), "too many parts"),
        (field(7, field(11, b"\x0a\x01a") * 20_000 + field(12, b"\x0a\x01b") * 20_000), "too many"),
        (field(7, field(11, field(1, b"n" * 2000))), "a name is too long"),
        (field(7, field(11, field(1, b"n" * 100_000))), "too long"),
    ],
    ids=["parts", "values", "name", "description"],
)  # fmt: skip
def test_a_hostile_graph_is_given_up(read, monkeypatch, content, why):
    monkeypatch.setattr(protobuf_walk, "MOST_FIELDS", 100_000)  # a million takes seconds to pass
    with pytest.raises(ConfigError, match=why):
        read(content)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_onnx_signature(tmp_path / "model.onnx")
