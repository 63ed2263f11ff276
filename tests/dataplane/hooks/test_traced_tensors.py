"""What the trace level TENSORS tells of a request: Triton's names, values as text, bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from serving.dataplane.hooks.traced_tensors import MOST_TEXT, MOST_VALUES, tensors_of
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.errors import ModelFailed


def told(array: np.ndarray, datatype: str) -> dict[str, Any]:
    """Return the tensor that is told of an input."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    bound = Bound((array,), len(array), (array.shape[1:],), (), None)
    (line,) = tensors_of(Pending("r", bound, future, 0.0), ("x",), {"x": datatype}, {})
    tensor: dict[str, Any] = line["tensor"]
    return tensor


async def test_inputs_and_outputs_as_triton_names_them() -> None:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    bound = Bound((np.float32([[1.5, 0.1]]),), 1, ((2,),), (), {"sex": ["F"]})
    item = Pending("r7", bound, future, 0.0)
    item.answer({"y": np.int64([3])})
    given, answered = tensors_of(item, ("x",), {"x": "FP32", "sex": "BYTES"}, {"y": "INT64"})
    assert given == {
        "id": "r7",
        "activity": "TENSOR_QUEUE_INPUT",
        "tensor": {"name": "x", "data": "1.5,0.1", "shape": "1,2", "dtype": "FP32"},
    }
    assert answered == {
        "id": "r7",
        "activity": "TENSOR_BACKEND_OUTPUT",
        "tensor": {"name": "y", "data": "3", "shape": "1", "dtype": "INT64"},
    }


@pytest.mark.parametrize("how", ["failed", "left"])
async def test_without_an_answer_there_are_inputs_only(how: str) -> None:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    item = Pending("r", Bound((np.int8([1]),), 1, ((),), (), None), future, 0.0)
    item.fail(ModelFailed("no")) if how == "failed" else future.cancel()
    (line,) = tensors_of(item, ("x",), {"x": "INT8"}, {"y": "INT8"})
    assert line["activity"] == "TENSOR_QUEUE_INPUT"
    if how == "failed":
        assert future.exception() is not None


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        (np.array([True, False]), "BOOL", "1,0"),
        (np.uint16([0x3FC0, 0x7FC0]), "BF16", "1.5,nan"),
        (np.float16([1.5, np.inf]), "FP16", "1.5,inf"),
        (np.array([[1, 2], [3, 4]], np.int64).T, "INT64", "1,3,2,4"),
        (np.uint64([2**64 - 1]), "UINT64", str(2**64 - 1)),
    ],
)
async def test_values_are_text_in_row_major_order(
    array: np.ndarray, datatype: str, data: str
) -> None:
    assert told(array, datatype)["data"] == data


async def test_texts_can_be_told_apart_whatever_they_hold() -> None:
    values = [b'say "a,b"', b"", "\u00e9".encode(), b"\xff"]
    data = told(np.array(values, object), "BYTES")["data"]
    assert json.loads(f"[{data}]") == ['say "a,b"', "", "\u00e9", "\ufffd"]


async def test_long_tensors_are_cut_and_say_so() -> None:
    whole = told(np.zeros((2, MOST_VALUES // 2), np.int8), "INT8")
    assert "truncated" not in whole
    cut = told(np.zeros((2, MOST_VALUES), np.int8), "INT8")
    assert (cut["truncated"], cut["shape"]) == (True, f"2,{MOST_VALUES}")
    assert len(cut["data"].split(",")) == MOST_VALUES
    texts = told(np.array([b"short", b"a" * MOST_TEXT, b"never"], object), "BYTES")
    assert (texts["truncated"], texts["data"]) == (True, '"short"')
