"""Typed contents of gRPC messages: which field, which values, how many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.grpc.contents import decode_contents, encode_contents, has_typed_form
from serving.protocol.messages import Tensor
from serving.protocol.pb.open_inference_pb2 import InferTensorContents

FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip


def of(datatype: str, values: list[Any], **more: list[Any]) -> InferTensorContents:
    return InferTensorContents(**{FIELDS[datatype]: values, **more})


def refusal(datatype: str, shape: tuple[int, ...], contents: InferTensorContents) -> str:
    with pytest.raises(InvalidInput) as told:
        decode_contents("x", datatype, shape, contents)
    return told.value.message


def edges(datatype: str) -> list[Any]:
    """Return the least and the greatest value of a datatype."""
    if datatype == "BYTES":
        return [b"", b"\x00\xff"]
    dtype = NUMPY_OF[datatype]
    if dtype.kind == "b":
        return [False, True]
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return [limits.min.item() if dtype.kind == "f" else limits.min,
            limits.max.item() if dtype.kind == "f" else limits.max]  # fmt: skip


def test_half_floats_alone_have_no_typed_form() -> None:
    assert {datatype for datatype in NUMPY_OF if not has_typed_form(datatype)} == {"FP16", "BF16"}
    assert not has_typed_form("fp32")


@pytest.mark.parametrize("datatype", FIELDS)
def test_values_stand_in_the_field_of_their_datatype_up_to_its_limits(datatype: str) -> None:
    array = decode_contents("x", datatype, (1, 2), of(datatype, edges(datatype)))
    assert (array.shape, array.dtype) == ((1, 2), NUMPY_OF[datatype])
    assert array.ravel().tolist() == edges(datatype)
    assert encode_contents(Tensor("x", datatype, (1, 2), array)) == of(datatype, edges(datatype))


@pytest.mark.parametrize("datatype", FIELDS)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
def test_any_shape_in_the_order_of_c(datatype: str, shape: tuple[int, ...]) -> None:
    low, high = edges(datatype)
    values = [low if number % 3 else high for number in range(math.prod(shape))]
    array = decode_contents("x", datatype, shape, of(datatype, values))
    assert (array.shape, array.dtype) == (shape, NUMPY_OF[datatype])
    assert array.ravel().tolist() == values
    assert encode_contents(Tensor("x", datatype, shape, array)) == of(datatype, values)


def test_what_lies_otherwise_in_memory_is_written_in_the_order_of_c() -> None:
    turned = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert list(encode_contents(Tensor("y", "INT32", (3, 2), turned)).int_contents) == [
        0, 3, 1, 4, 2, 5,
    ]  # fmt: skip


def test_floats_that_are_no_numbers_pass() -> None:
    array = decode_contents("x", "FP32", (3,), of("FP32", [math.nan, math.inf, -math.inf]))
    assert np.isnan(array[0])
    assert array[1:].tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("UINT8", 256), ("UINT16", 1 << 16), ("INT8", 128), ("INT8", -129), ("INT16", 1 << 15),
     ("INT16", -(1 << 15) - 1)],
)  # fmt: skip
def test_a_value_out_of_range(datatype: str, value: int) -> None:
    said = f"input 'x': contents has a value out of range for {datatype}"
    assert refusal(datatype, (2,), of(datatype, [1, value])) == said


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_are_told_where_to_go(datatype: str) -> None:
    assert refusal(datatype, (1,), of("FP32", [1])) == (
        f"input 'x': {datatype} has no typed contents; send it in raw_input_contents"
    )


@pytest.mark.parametrize("datatype", ["fp32", "", "FP8", "STRING"])
def test_an_unknown_datatype(datatype: str) -> None:
    assert "unknown datatype" in refusal(datatype, (1,), of("FP32", [1]))


@pytest.mark.parametrize(
    ("datatype", "contents", "wrong"),
    [
        ("FP32", of("FP64", [1.0]), "fp64_contents"),
        ("FP32", of("FP32", [1.0], int_contents=[1]), "int_contents"),
        ("INT64", of("INT32", [1]), "int_contents"),
        ("UINT8", of("INT8", [1]), "int_contents"),
        ("BYTES", of("BOOL", [True]), "bool_contents"),
    ],
)
def test_another_datatype_s_field(datatype: str, contents: Any, wrong: str) -> None:
    assert refusal(datatype, (1,), contents) == (
        f"input 'x': {datatype} belongs in {FIELDS[datatype]}, not in {wrong}"
    )


@pytest.mark.parametrize(
    ("shape", "given"),
    [((2,), 1), ((2,), 3), ((), 0), ((0,), 1), ((1 << 40, 1 << 40), 2), ((2, 2), 0)],
)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_more_or_fewer_than_in_the_shape(datatype: str, shape: tuple[int, ...], given: int) -> None:
    values = [b"a" if datatype == "BYTES" else 1.0] * given
    assert refusal(datatype, shape, of(datatype, values)) == (
        f"input 'x': shape {list(shape)} has {math.prod(shape)} elements, but contents has {given}"
    )
