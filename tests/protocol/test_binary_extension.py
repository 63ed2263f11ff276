import json

import numpy as np
import pytest

from serving.errors import InvalidInput, Unsupported
from serving.protocol.json.codec import (
    decode_raw_request,
    decode_request,
    encode_response,
    parse_json_length,
)
from serving.protocol.messages import InferResponse
from serving.protocol.metadata import TensorMetadata

FLOATS = np.array([1.5, -2.0], dtype=np.float32)


def binary_input(size, **changes):
    return {
        "name": "x",
        "datatype": "FP32",
        "shape": [2],
        "parameters": {"binary_data_size": size},
        **changes,
    }


def decode(inputs, rest, **fields):
    head = json.dumps({"inputs": inputs, **fields}).encode()
    return decode_request(head + rest, len(head), "m", "1")


def test_binary_input_is_a_view_without_transport_parameters():
    (x,) = decode([binary_input(8)], FLOATS.tobytes()).inputs
    assert x.data.tolist() == [1.5, -2.0]
    assert not x.data.flags.owndata
    assert x.parameters is None
    kept = binary_input(8, parameters={"binary_data_size": 8, "content_type": "np"})
    assert decode([kept], FLOATS.tobytes()).inputs[0].parameters == {"content_type": "np"}


def test_binary_and_json_inputs_mix_in_order():
    flags = {"datatype": "BOOL", "shape": [3]}
    inputs = [
        binary_input(3, name="a", **flags),
        {"name": "b", **flags, "data": [True, False, True]},
        binary_input(8, name="c"),
        binary_input(6, name="d", datatype="BYTES", shape=[1]),
    ]
    got = decode(inputs, b"\1\0\1" + FLOATS.tobytes() + b"\2\0\0\0hi").inputs
    assert [t.data.tolist() for t in got] == [
        [True, False, True],
        [True, False, True],
        [1.5, -2.0],
        [b"hi"],
    ]


def test_binary_floats_may_be_nan():
    assert np.isnan(decode([binary_input(8)], b"\xff" * 8).inputs[0].data).all()


@pytest.mark.parametrize(
    ("one", "rest", "words"),
    [
        (binary_input(-8), b"", "binary_data_size"),
        (binary_input("8"), FLOATS.tobytes(), "binary_data_size"),
        (binary_input(8.0), FLOATS.tobytes(), "binary_data_size"),
        (binary_input(True), FLOATS.tobytes(), "binary_data_size"),
        (binary_input(8), b"", "only 0 bytes are left"),
        (binary_input(10**15), FLOATS.tobytes(), "only 8 bytes are left"),
        (binary_input(4), FLOATS.tobytes(), "needs 8 bytes, not 4"),
        (binary_input(8), FLOATS.tobytes() + b"x", "1 bytes are left after"),
        (binary_input(8, data=[1, 2]), FLOATS.tobytes(), "both data and binary_data_size"),
        (binary_input(8, shape=[2**32, 2**32, 16]), FLOATS.tobytes(), "needs"),
        (binary_input(8, shape=[-1, -2]), FLOATS.tobytes(), ">= 0"),
        (binary_input(8, datatype="FP31"), FLOATS.tobytes(), "unknown datatype"),
        (binary_input(5, datatype="BYTES", shape=[1]), b"\2\0\0\0a", "end beyond"),
        (binary_input(8, datatype="BOOL", shape=[8]), b"\2" * 8, "0 or 1"),
    ],
)
def test_wrong_binary(one, rest, words):
    with pytest.raises(InvalidInput, match=words):
        decode([one], rest)


def test_two_inputs_cannot_share_bytes():
    with pytest.raises(InvalidInput, match="input 'b' has binary_data_size 8, but only 0"):
        decode([binary_input(8, name="a"), binary_input(8, name="b")], FLOATS.tobytes())


def test_binary_needs_the_header():
    body = json.dumps({"inputs": [binary_input(8)]}).encode()
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length is missing"):
        decode_request(body, None, "m", "1")


def test_shared_memory_is_not_offered():
    with pytest.raises(Unsupported):
        decode([binary_input(0, parameters={"shared_memory_region": "r"})], b"")


@pytest.mark.parametrize("value", ["-1", "+1", "x", "", " 1", "1_0", "1.0", "٣", "9" * 5000])
def test_header_that_is_no_number(value):
    with pytest.raises(InvalidInput, match="number of bytes"):
        parse_json_length(value, 10**6)


def test_header_beyond_the_body():
    assert parse_json_length("10", 10) == 10
    with pytest.raises(InvalidInput, match="99999999999"):
        parse_json_length("99999999999", 10)
    for length in (11, -1):
        with pytest.raises(InvalidInput, match="but the body has 10 bytes"):
            decode_request(b"0123456789", length, "m", "1")


def test_raw_request():
    spec = TensorMetadata("x", "FP32", (-1, 2))
    got = decode_raw_request(FLOATS.tobytes() * 3, [spec], "m", "1", "mine")
    assert got.id == "mine"
    assert got.inputs[0].shape == (3, 2)
    assert got.inputs[0].data.tolist() == [[1.5, -2.0]] * 3
    answer = InferResponse("m", "1", "mine", got.inputs)
    body, length = encode_response(answer, got)
    assert body[length:] == FLOATS.tobytes() * 3


@pytest.mark.parametrize(
    ("declared", "row_axis", "shape"),
    [
        ((-1, -1), True, (1, 4)),
        ((-1, 2, -1), True, (1, 2, 2)),
        ((-1, 2), True, (2, 2)),
        ((-1, 2), False, (2, 2)),
        ((-1,), False, (4,)),
    ],
)
def test_a_raw_request_with_a_free_width_is_one_row(declared, row_axis, shape):
    spec = TensorMetadata("x", "FP32", declared)
    body = FLOATS.tobytes() * 2
    got = decode_raw_request(body, [spec], "m", "1", row_axis=row_axis)
    assert got.inputs[0].shape == shape


def test_raw_request_of_one_text():
    spec = TensorMetadata("x", "BYTES", (-1, 1))
    got = decode_raw_request(b"\xffany bytes", [spec], "m", "1")
    assert got.inputs[0].data.tolist() == [[b"\xffany bytes"]]


@pytest.mark.parametrize(
    ("specs", "body", "words"),
    [
        ([], b"1234", "one input; this has 0"),
        ([TensorMetadata("x", "FP32", (-1,))] * 2, b"1234", "one input; this has 2"),
        ([TensorMetadata("x", "FP32", (-1, -1, -1))], b"1234", "several free"),
        ([TensorMetadata("x", "FP32", (-1, -1, 2))], b"1234", "not a multiple of 8"),
        ([TensorMetadata("x", "FP32", (-1, 2))], b"1234", "not a multiple of 8"),
        ([TensorMetadata("x", "FP32", (-1, 2))], b"", "body is empty; send the elements"),
        ([TensorMetadata("x", "FP32", (-1, 0))], b"", "body is empty"),
        ([TensorMetadata("x", "FP32", (-1, 0))], b"1234", "no elements in its shape .* 4 bytes"),
        ([TensorMetadata("x", "FP32", (2, 0))], b"1234", "takes 0 bytes, the body has 4"),
        ([TensorMetadata("x", "FP32", (2, 2))], b"12345678", "takes 16 bytes, the body has 8"),
        ([TensorMetadata("x", "BYTES", (-1, 2))], b"12345678", "more than one element"),
    ],
)
def test_wrong_raw_requests(specs, body, words):
    with pytest.raises(InvalidInput, match=words):
        decode_raw_request(body, specs, "m", "1")
