"""Where the parts of a ModelInferRequest lie, in messages as libraries write them and others."""

from __future__ import annotations

import numpy as np
import pytest

from serving.protocol.grpc.layout import ID, MODEL_NAME, MODEL_VERSION, find_layout
from serving.protocol.pb import open_inference_pb2 as pb


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(tag, content):
    return bytes([tag]) + varint(len(content)) + content


NAME, VERSION, IDENT = field(0x0A, b"m"), field(0x12, b"1"), field(0x1A, b"id")
PARAMETERS, OUTPUT = field(0x22, field(0x0A, b"p")), field(0x32, field(0x0A, b"y"))
INPUT = field(0x2A, field(0x0A, b"x"))
RAW = field(0x3A, b"\0" * 4)


def typed(tag, content, datatype=b"FP32"):
    inner = field(0x0A, b"x") + field(0x12, datatype) + field(0x2A, field(tag, content))
    return field(0x2A, inner)


def contents(message, layout):
    return [message[span.begin : span.end] for span in layout.data]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 3_000_000])
def test_raw_contents_of_any_size(size):
    message = pb.ModelInferRequest(model_name="m" * 200, model_version="12", id="é" * 100)
    message.inputs.add(name="x", datatype="UINT8", shape=[size])
    message.inputs.add(name="z", datatype="INT8", shape=[2])
    message.raw_input_contents.extend([b"\7" * size, b"ab"])
    text = message.SerializeToString()
    layout = find_layout(text, ["UINT8", "INT8"])
    assert contents(text, layout) == [b"\7" * size, b"ab"]
    head = pb.ModelInferRequest(model_name="m" * 200, model_version="12").SerializeToString()
    assert text[: layout.head] == head
    rest = pb.ModelInferRequest.FromString(text[layout.rest :])
    assert (rest.model_name, rest.id, len(rest.inputs)) == ("", "", 2)


@pytest.mark.parametrize(
    ("datatype", "fills", "dtype"),
    [("FP32", "fp32_contents", "<f4"), ("FP64", "fp64_contents", "<f8")],
)
def test_typed_contents_of_one_size(datatype, fills, dtype):
    message = pb.ModelInferRequest(model_name="m")
    given = message.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(given.contents, fills).extend([1.5, -2])
    text = message.SerializeToString()
    assert contents(text, find_layout(text, [datatype])) == [np.array([1.5, -2], dtype).tobytes()]


@pytest.mark.parametrize(
    ("once", "head"),
    [
        ([NAME], [NAME]),
        ([NAME, VERSION], [NAME, VERSION]),
        ([NAME, IDENT], [NAME]),
        ([NAME, VERSION, IDENT], [NAME, VERSION]),
        ([field(0x0A, b""), IDENT], [field(0x0A, b"")]),
    ],
)
def test_the_id_lies_between_head_and_rest(once, head):
    layout = find_layout(b"".join([*once, PARAMETERS, INPUT, OUTPUT, RAW]), ["FP32"])
    assert layout.head == len(b"".join(head))
    assert layout.rest == len(b"".join(once))


def test_a_message_without_inputs_has_no_data():
    assert find_layout(NAME, []) == (len(NAME), len(NAME), [])


UNUSUAL = {
    "nothing": b"",
    "no name": VERSION + INPUT + RAW,
    "another order": NAME + INPUT + VERSION + RAW,
    "raw before inputs": NAME + RAW + INPUT,
    "id before version": NAME + IDENT + VERSION + INPUT + RAW,
    "two names": NAME + NAME + INPUT + RAW,
    "two versions": NAME + VERSION + VERSION + INPUT + RAW,
    "two ids": NAME + IDENT + IDENT + INPUT + RAW,
    "unknown field": NAME + INPUT + RAW + field(0x42, b""),
    "field 0": NAME + INPUT + RAW + field(0x02, b""),
    "a number": NAME + INPUT + RAW + b"\x40\x01",
    "a fixed number": NAME + INPUT + RAW + b"\x4d\0\0\0\0",
    "a field above 15": NAME + INPUT + RAW + b"\x82\x01\x00",
    "a tag longer than need be": b"\x8a\x00\x01m" + INPUT + RAW,
    "fewer raw contents": NAME + INPUT + INPUT + RAW,
    "more raw contents": NAME + INPUT + RAW + RAW,
    "no contents": NAME + INPUT,
    "two contents": NAME + field(0x2A, field(0x2A, b"") + field(0x2A, b"")),
    "contents in two pieces": NAME + field(0x2A, field(0x2A, field(0x32, b"") * 2)),
    "another field of the contents": NAME + typed(0x3A, b"\0" * 8),
}


@pytest.mark.parametrize("message", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_messages_have_no_layout(message):
    inputs = 2 if message.count(INPUT) == 2 else message.count(b"\x2a") > 0
    assert find_layout(message, ["FP32"] * inputs) is None


@pytest.mark.parametrize("datatype", ["INT8", "INT64", "BOOL", "BYTES", "FP16", "FP31", "FP64"])
def test_other_typed_contents_are_of_no_known_size(datatype):
    message = NAME + typed(0x32, b"\0" * 4)
    assert find_layout(message, ["FP32"]) is not None
    assert find_layout(message, [datatype]) is None


def test_lengths_may_be_written_longer_than_need_be():
    message = NAME + INPUT + b"\x3a\x84\x00" + b"data"
    assert contents(message, find_layout(message, ["FP32"])) == [b"data"]


def test_tags_are_those_of_the_message():
    wanted = ((MODEL_NAME, "model_name"), (MODEL_VERSION, "model_version"), (ID, "id"))
    for tag, name in wanted:
        number = pb.ModelInferRequest.DESCRIPTOR.fields_by_name[name].number
        assert tag == number << 3 | 2
