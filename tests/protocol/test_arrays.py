"""Tensors from arrays, lists and numbers."""

from typing import Any

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.arrays import tensor_of


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("FP32", [[1, 2.5]], np.array([[1, 2.5]], np.float32)),
        ("INT32", [7], np.array([7], np.int32)),
        ("BF16", [[1.0]], np.array([[0x3F80]], np.uint16)),
        ("BYTES", [["é", b"x"]], np.array([["é".encode(), b"x"]], object)),
    ],
)
def test_what_fits(datatype: str, value: Any, expected: np.ndarray) -> None:
    if datatype == "BYTES":
        value = np.array(value, object)
    tensor = tensor_of("x", datatype, value)
    assert tensor.shape == tensor.data.shape == expected.shape
    assert tensor.data.dtype == expected.dtype
    assert (tensor.data == expected).all()


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT64", [1.5]),
        ("INT32", [2**40]),
        ("FP32", ["a"]),
        ("FP32", [[1], [1, 2]]),
        ("BYTES", [1]),
    ],
)
def test_what_does_not(datatype: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"input 'x'.*{datatype}"):
        tensor_of("x", datatype, value)


@pytest.mark.parametrize("value", [np.ones((2, 3), np.float32), np.ones((3, 2), np.float32).T])
def test_it_has_memory_of_its_own(value: np.ndarray) -> None:
    data = tensor_of("x", "FP32", value).data
    assert data.flags.c_contiguous
    value[:] = 0
    assert (data == 1).all()
