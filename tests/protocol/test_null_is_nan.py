"""JSON has no NaN: among floats `null` stands for it, in requests as in answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.json.codec import decode_request
from serving.protocol.json.reader import RequestReader

NAN = float("nan")
FLOATS = ("FP16", "FP32", "FP64", "BF16")
OTHERS = ("BOOL", "UINT8", "UINT64", "INT8", "INT32", "INT64", "BYTES")


def body(datatype, data, shape=(2, 2)):
    tensor = {"name": "x", "shape": list(shape), "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def numbers(tensor):
    return bf16_to_fp32(tensor.data) if tensor.datatype == "BF16" else tensor.data


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("data", [[0.5, None, None, 2], [[0.5, None], [None, 2]]])
def test_null_is_nan_in_every_floating_datatype(datatype, data):
    (tensor,) = decode_request(body(datatype, data), None, "m", "").inputs
    np.testing.assert_array_equal(numbers(tensor), [[0.5, NAN], [NAN, 2]])


@pytest.mark.parametrize("datatype", FLOATS)
def test_readers_that_know_the_request_agree(datatype):
    reader = RequestReader()
    for data in ([1, 2, 3, 4], [0.5, None, None, 2], [1, 2, 3, 4]):
        given = body(datatype, data)
        (known,) = reader.read(given, None, "m", "").inputs
        (read,) = decode_request(given, None, "m", "").inputs
        np.testing.assert_array_equal(numbers(known), numbers(read))


@pytest.mark.parametrize("datatype", OTHERS)
def test_other_datatypes_have_no_nan(datatype):
    with pytest.raises(InvalidInput, match=r"input .x.: data is not .*null"):
        decode_request(body(datatype, [None] * 4), None, "m", "")


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e400", "nul", '"null"'])
def test_what_json_does_not_know_is_refused(token):
    given = body("FP64", [0.5, None, "TOKEN", 2]).replace(b'"TOKEN"', token.encode())
    with pytest.raises(InvalidInput):
        decode_request(given, None, "m", "")


def test_what_is_too_large_stays_out_of_range_beside_null():
    for datatype, number in (("FP16", 1e6), ("FP32", 1e39), ("BF16", 3.4e38)):
        with pytest.raises(InvalidInput, match="out of range"):
            decode_request(body(datatype, [None, number, 0, 0]), None, "m", "")


def test_a_ragged_list_with_null_is_told_as_ever():
    with pytest.raises(InvalidInput, match="nested lists"):
        decode_request(body("FP32", [[None], [1, 2]]), None, "m", "")
    with pytest.raises(InvalidInput, match="has 4 elements"):
        decode_request(body("FP32", [None, 1]), None, "m", "")
