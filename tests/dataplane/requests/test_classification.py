"""The best classes of every row: order, labels, datatypes and bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from serving.config import OutputSpec
from serving.dataplane.requests.classification import (
    MOST_CLASSES,
    as_asked,
    check_scores,
    classified,
)
from serving.errors import InvalidInput
from serving.protocol.datatypes import fp32_to_bf16
from serving.protocol.messages import RequestedOutput, Tensor


def tensor(values: Any, datatype: str = "FP32", dtype: Any = np.float32) -> Tensor:
    data = np.array(values, dtype)
    return Tensor("y", datatype, data.shape, data)


def test_scores_indices_and_labels() -> None:
    answer = classified(tensor([[0.25, 0.75], [1.0, 0.0]]), 2, ["no", "yes"])
    assert (answer.name, answer.datatype, answer.shape) == ("y", "BYTES", (2, 2))
    assert answer.data.tolist() == [
        [b"0.750000:1:yes", b"0.250000:0:no"],
        [b"1.000000:0:no", b"0.000000:1:yes"],
    ]


def test_without_labels_or_with_others() -> None:
    for classes in (None, ["only"]):
        answer = classified(tensor([[0.25, 0.75]]), 1, classes)
        assert answer.data.tolist() == [[b"0.750000:1"]]


def test_more_classes_than_there_are() -> None:
    assert classified(tensor([[1.0, 2.0]]), 9, None).shape == (1, 2)


@pytest.mark.parametrize(
    ("given", "best"),
    [
        (tensor([[1, 1, 1]]), [b"1.000000:0", b"1.000000:1"]),
        (tensor([[np.nan, -3, np.inf]]), [b"inf:2", b"-3.000000:1"]),
        (tensor([[0, 2**64 - 1]], "UINT64", np.uint64), [b"18446744073709551615:1", b"0:0"]),
        (tensor([[-(2**63), 5]], "INT64", np.int64), [b"5:1", b"-9223372036854775808:0"]),
        (
            tensor(fp32_to_bf16(np.array([[1, 2]])), "BF16", np.uint16),
            [b"2.000000:1", b"1.000000:0"],
        ),
        (tensor([[[1], [4]]]), [b"4.000000:1", b"1.000000:0"]),
        (tensor([7]), [b"7.000000:0"]),
    ],
)  # fmt: skip
def test_datatypes_and_shapes(given: Tensor, best: list[bytes]) -> None:
    assert classified(given, 2, None).data[0].tolist() == best


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2)), st.integers(1, 9))
def test_every_row_is_its_own_best(scores: np.ndarray, count: int) -> None:
    before = scores.copy()
    answer = classified(tensor(scores), count, None)
    indices = [[int(text.split(b":")[1]) for text in row] for row in answer.data.tolist()]
    for row, got in zip(scores, indices, strict=True):
        keys = np.where(np.isnan(row), -np.inf, row)
        assert got == sorted(range(len(row)), key=lambda at: (-keys[at], at))[:count]
    np.testing.assert_array_equal(scores, before)


def test_only_what_was_asked_for() -> None:
    tensors = (tensor([[1.0]]), Tensor("z", "FP32", (1, 1), np.ones((1, 1), np.float32)))
    asked = [RequestedOutput("y", {"classification": 1}), RequestedOutput("z")]
    first, second = as_asked(asked, tensors, {"y": ["one"], "z": None})
    assert first.data.tolist() == [[b"1.000000:0:one"]]
    assert second is tensors[1]
    nothing = [RequestedOutput("y", {"classification": 0}), RequestedOutput("z")]
    assert as_asked(nothing, tensors, {}) is tensors


@pytest.mark.parametrize(
    ("datatype", "count", "words"),
    [("BYTES", 1, "no scores"), ("BOOL", 1, "no scores"), ("FP32", MOST_CLASSES + 1, "at most")],
)
def test_what_cannot_be_classified(datatype: str, count: int, words: str) -> None:
    spec = OutputSpec(name="y", datatype=datatype, shape=[-1, 2])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=words):
        check_scores(RequestedOutput("y", {"classification": count}), spec)
    check_scores(RequestedOutput("y", {"classification": 0, "binary_data": True}), spec)
