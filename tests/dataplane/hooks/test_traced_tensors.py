"""What the trace level TENSORS tells of a request: Triton's names, values as text, bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.dataplane.hooks.records import Failure
from serving.dataplane.hooks.traced_tensors import MOST_TEXT, MOST_VALUES, tensors_of
from serving.dataplane.requests.bound import Bound
from serving.telemetry.outcomes import OUTCOME_FAILED

Make = Callable[..., Any]
FAILED = Failure("ModelFailed", OUTCOME_FAILED, 500, "no")


@pytest.fixture
def told(make_request: Make, make_done: Make) -> Make:
    """Return what returns the tensor that is told of an input."""

    def tell(array: np.ndarray, datatype: str) -> dict[str, Any]:
        bound = Bound((array,), len(array), (array.shape[1:],), (), None)
        request = make_request(bound=bound, output_row=-1)
        (line,) = tensors_of(request, make_done(request), {"x": datatype}, {})
        tensor: dict[str, Any] = line["tensor"]
        return tensor

    return tell


def test_inputs_and_outputs_as_triton_names_them(make_request: Make, make_done: Make) -> None:
    other = make_request("r6", [[9.0, 9.0]])
    request = make_request("r7", [[1.5, 0.1]], row=1, output_row=1, sensitive={"sex": ["F"]})
    done = make_done(other, request, outputs={"y": np.int64([9, 3]), "hidden": np.zeros(2)})
    given, answered = tensors_of(request, done, {"x": "FP32", "sex": "BYTES"}, {"y": "INT64"})
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


@pytest.mark.parametrize(
    "how",
    [{"output_row": -1, "failure": FAILED}, {"failure": FAILED}, {"refused": True}],
    ids=["failed", "taken back", "left"],
)
def test_without_an_answer_there_are_inputs_only(
    make_request: Make, make_done: Make, how: dict[str, Any]
) -> None:
    request = make_request(**how)
    (line,) = tensors_of(request, make_done(request), {"x": "FP32"}, {"y": "FP32"})
    assert line["activity"] == "TENSOR_QUEUE_INPUT"


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
def test_values_are_text_in_row_major_order(
    told: Make, array: np.ndarray, datatype: str, data: str
) -> None:
    assert told(array, datatype)["data"] == data


def test_texts_can_be_told_apart_whatever_they_hold(told: Make) -> None:
    values = [b'say "a,b"', b"", "\u00e9".encode(), b"\xff"]
    data = told(np.array(values, object), "BYTES")["data"]
    assert json.loads(f"[{data}]") == ['say "a,b"', "", "\u00e9", "\ufffd"]


def test_long_tensors_are_cut_and_say_so(told: Make) -> None:
    whole = told(np.zeros((2, MOST_VALUES // 2), np.int8), "INT8")
    assert "truncated" not in whole
    cut = told(np.zeros((2, MOST_VALUES), np.int8), "INT8")
    assert (cut["truncated"], cut["shape"]) == (True, f"2,{MOST_VALUES}")
    assert len(cut["data"].split(",")) == MOST_VALUES
    texts = told(np.array([b"short", b"a" * MOST_TEXT, b"never"], object), "BYTES")
    assert (texts["truncated"], texts["data"]) == (True, '"short"')
