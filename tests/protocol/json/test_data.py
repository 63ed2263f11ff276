"""The `data` of one tensor, as text and as an array, without the request around it."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.json import data as data_module
from serving.protocol.json.data import NATIVE, decode_data, encode_data, native, packer, reason
from serving.protocol.messages import Tensor


def read(datatype, shape, text, *, base64=False):
    return decode_data("x", datatype, shape, text.encode("utf-8", "surrogatepass"), base64)


def refusal(datatype, shape, text, *, base64=False):
    with pytest.raises(InvalidInput) as told:
        read(datatype, shape, text, base64=base64)
    assert len(told.value.message) < 500
    assert "\n" not in told.value.message
    return told.value.message


def of(datatype, data):
    return Tensor("y", datatype, data.shape, data)


def texts(*elements):
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


NUMBERS = sorted(NUMPY_OF.keys() - {"BYTES", "BOOL", "BF16"})


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("text", ["[0,1,2,3]", "[[0,1],[2,3]]", "\t[\n[ 0 ,1],\r[2,3] ]"])
def test_numbers_become_a_read_only_array_of_their_datatype(datatype, text):
    got = read(datatype, (2, 2), text)
    assert (got.dtype, got.shape, got.tolist()) == (NUMPY_OF[datatype], (2, 2), [[0, 1], [2, 3]])
    assert not got.flags.writeable


@pytest.mark.parametrize("datatype", [d for d in NUMBERS if "INT" in d])
def test_integers_have_the_range_of_their_datatype_and_no_other(datatype):
    limits = np.iinfo(NUMPY_OF[datatype])
    assert read(datatype, (2,), f"[{limits.min},{limits.max}]").tolist() == [limits.min, limits.max]
    for beyond in (limits.min - 1, limits.max + 1):
        for text in (f"[{beyond}]", f"[[{beyond}]]"):
            said = refusal(datatype, (1, 1), text)
            assert "out of range" in said
            assert "'x'" in said


@pytest.mark.parametrize(
    ("datatype", "value", "words"),
    [
        ("INT32", 1.7, "got 'float'"),
        ("INT32", 1.0, "got 'float'"),
        ("INT32", 2**31, "out of range"),
        ("INT64", 2**63, "out of range"),
        ("UINT64", 2**64 + 1, "out of range"),
        ("UINT64", 2**70, "out of range"),
        ("UINT8", -1, "out of range"),
        ("INT8", 300, "out of range"),
        ("INT8", -129, "out of range"),
        ("BOOL", "false", "got 'str'"),
        ("BOOL", 1, "got 'int'"),
        ("FP16", 65520, "out of range"),
        ("FP32", 1e39, "out of range"),
        ("FP32", 3.4028236e38, "out of range"),
        ("FP32", -1e39, "out of range"),
        ("FP32", True, "got 'bool'"),
        ("FP64", "1", "got 'str'"),
        ("BF16", 3.4e38, "out of range"),
        ("BF16", -3.4e38, "out of range"),
        ("BF16", 1e39, "out of range"),
        ("BYTES", 1, "got 'int'"),
        ("BYTES", None, "got 'null'"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_values_that_do_not_fit(datatype, value, words, nested):
    data = [[value]] if nested else [value]
    assert words in refusal(datatype, (1, 1), json.dumps(data))


@pytest.mark.parametrize(
    ("datatype", "value", "got"),
    [
        ("FP16", 65504.0, 65504.0),
        ("FP32", 3.4028234663852886e38, 3.4028234663852886e38),
        ("INT8", -128, -128),
        ("BF16", 3.3895313892515355e38, 0x7F7F),
        ("BF16", -0.0, 0x8000),
    ],
)
def test_largest_values_that_fit(datatype, value, got):
    assert read(datatype, (1,), json.dumps([value])).tolist() == [got]


@pytest.mark.parametrize("data", ["a", "a===", "äöü"])
@pytest.mark.parametrize("nested", [False, True])
def test_wrong_base64(data, nested):
    text = json.dumps([[data]] if nested else [data])
    assert "base64" in refusal("BYTES", (1, 1), text, base64=True)
    assert refusal("BYTES", (1, 1), '["a"]', base64=True).startswith(
        "input 'x': data is not base64"
    )


@pytest.mark.parametrize("text", ['["YQ==","w7Y=",""]', '[["YQ=="],["w7Y="],[""]]'])
def test_base64_and_texts_give_the_same_elements(text):
    got = read("BYTES", (3, 1), text, base64=True)
    assert got.dtype == object
    assert got.ravel().tolist() == [b"a", "ö".encode(), b""]
    assert read("BYTES", (3, 1), '["a","\\u00f6",""]').tolist() == got.tolist()


@pytest.mark.parametrize(
    ("datatype", "text", "value"),
    [
        ("FP64", " 2.5 ", 2.5),
        ("FP64", "null", np.nan),
        ("INT8", "-7", -7),
        ("BOOL", "true", True),
        ("BF16", "1.0", 0x3F80),
        ("BYTES", '"[1]"', b"[1]"),
        ("INT8", "[3]", 3),
        ("BYTES", '["a"]', b"a"),
    ],
)
def test_a_scalar_may_be_bare(datatype, text, value):
    got = read(datatype, (), text)
    assert got.shape == ()
    np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("text", ["1", "null", '"a"', "{}", "", "true"])
def test_only_a_scalar_may_be_bare(text):
    assert "data is not INT8" in refusal("INT8", (1,), text)


@pytest.mark.parametrize("text", ["", "{", "1,2", "[[1]]", "[1,2]", "nul", "[]"])
@pytest.mark.parametrize("datatype", ["FP32", "INT8"])
def test_a_scalar_is_one_element(datatype, text):
    assert "'x'" in refusal(datatype, (), text)


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((2, 2), [["1", "1"], ["1"]]),
        ((2, 2), [["1"] * 4]),
        ((2, 2), [["1"], ["1"], ["1"], ["1"]]),
        ((0, 2), [["1", "1"]]),
        ((2, 0), [["1"], []]),
    ],
)
def test_nested_lists_must_have_the_shape(datatype, shape, rows):
    text = json.dumps(rows)
    text = text if datatype == "BYTES" else text.replace('"', "")
    assert f"do not have shape {list(shape)}" in refusal(datatype, shape, text)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BYTES"])
def test_flat_lists_must_have_as_many_elements_as_the_shape(datatype):
    one = '"a"' if datatype == "BYTES" else "1"
    for given in (0, 3, 5):
        said = refusal(datatype, (2, 2), f"[{','.join([one] * given)}]")
        assert said == f"input 'x': shape [2, 2] has 4 elements, but data has {given}"
    huge = 2**62
    assert f"has {huge * huge} elements" in refusal(datatype, (huge, huge), f"[{one}]")


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("datatype", ["FP32", "BF16", "BOOL", "BYTES"])
def test_nothing_is_an_array_of_nothing(datatype, shape):
    got = read(datatype, shape, "[]")
    assert (got.shape, got.dtype) == (shape, NUMPY_OF[datatype])


def test_null_is_nan_also_where_a_text_holds_it():
    np.testing.assert_array_equal(read("FP32", (3,), "[ null,1,null]"), [np.nan, 1, np.nan])
    assert "got 'null'" in refusal("UINT8", (1,), "[null]")
    assert read("BYTES", (1,), '["null"]').tolist() == [b"null"]


def test_unknown_datatypes_are_told_with_those_that_are_known():
    said = refusal("FP31", (1,), "[1]")
    assert said.startswith("unknown datatype 'FP31'; use one of BOOL")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RecursionError("stack"), "it is nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "it is not valid UTF-8"),
        (msgspec.DecodeError("Expected `int`"), "Expected 'int'"),
    ],
)
def test_reasons_are_in_words_for_the_client(error, words):
    assert isinstance(error, data_module.UNREADABLE)
    assert reason(error) == words


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BYTES"])
def test_hostile_depth_and_bytes_are_refused_with_a_reason(datatype):
    deep = "[" * 50_000
    assert "'x'" in refusal(datatype, (1,), deep)
    with pytest.raises(InvalidInput, match="input 'x': data is not"):
        decode_data("x", datatype, (1,), b'["\xff"]', base64=False)


def test_numbers_are_packed_little_endian_and_in_range():
    assert packer(2, "H")(1, 258) == b"\1\0\2\1"
    with pytest.raises(OverflowError):
        packer(1, "f")(1e39)


@pytest.mark.parametrize("datatype", sorted(NATIVE))
def test_numbers_are_written_flat_as_they_are(datatype):
    data = np.array([[0, 1], [1, 0]]).astype(NUMPY_OF[datatype])
    got = encode_data(of(datatype, data), base64=False)
    assert (got.dtype, got.tolist()) == (data.dtype, [0, 1, 1, 0])


def test_bf16_is_written_as_the_numbers_it_means():
    got = encode_data(of("BF16", np.array([[0x3F80, 0x7FC0]], np.uint16)), base64=False)
    np.testing.assert_array_equal(got, np.array([1, np.nan], np.float32))
    assert got.dtype == np.float32


def test_what_lies_unaligned_is_copied_and_nothing_else():
    aligned = np.arange(4, dtype=np.float32).reshape(2, 2)
    assert np.shares_memory(native(aligned), aligned)
    unaligned = np.frombuffer(b"\0" + aligned.tobytes(), np.uint8)[1:].view(np.float32)
    assert not unaligned.flags.aligned
    got = native(unaligned)
    assert got.flags.aligned
    assert got.tolist() == [0, 1, 2, 3]


def test_texts_are_written_as_texts_or_in_base64():
    data = texts(b"a", "ö".encode(), b"").reshape(3, 1)
    assert encode_data(of("BYTES", data), base64=False) == ["a", "ö", ""]
    assert encode_data(of("BYTES", data), base64=True) == ["YQ==", "w7Y=", ""]
    long = b"\xff" * 100
    (written,) = encode_data(of("BYTES", texts(long)), base64=True)
    assert "\n" not in written
    assert read("BYTES", (1,), json.dumps([written]), base64=True).tolist() == [long]


def test_bytes_that_are_no_text_are_refused_with_what_to_ask_for():
    with pytest.raises(InvalidInput) as told:
        encode_data(of("BYTES", texts(b"a", b"\xff")), base64=False)
    assert told.value.message == (
        "output 'y' holds bytes that are not UTF-8; ask for it with binary_data or with "
        "content_type base64"
    )
