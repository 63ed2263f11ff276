"""What all who answer batches have in common."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from serving.channel.frame_parts import Message
from serving.errors import InvalidInput, ModelFailed, Unsupported, VigilError
from serving.replica.batch_handler import require_infer, tensors_of, told


def test_outputs_become_tensors_in_their_order():
    y, words = np.zeros((2, 3), np.float32), np.array([b"a", "é".encode()], dtype=object)
    datatypes = {"y": "FP32", "words": "BYTES", "unused": "INT8"}
    first, second = tensors_of({"words": words, "y": y}, datatypes)
    assert (first.name, first.datatype, first.shape) == ("words", "BYTES", (2,))
    assert (second.name, second.datatype, second.shape) == ("y", "FP32", (2, 3))
    assert first.data is words  # nothing is copied
    assert second.data is y


@pytest.mark.parametrize("shape", [(0, 3), (), (1, 0, 2)])
def test_an_output_may_be_empty(shape):
    (tensor,) = tensors_of({"y": np.zeros(shape)}, {"y": "FP64"})
    assert (tensor.shape, tensor.data.size) == (shape, np.zeros(shape).size)


def test_no_outputs_are_no_tensors():
    assert tensors_of({}, {"y": "FP32"}) == []


def test_an_output_that_nobody_declared_is_an_error():
    with pytest.raises(KeyError, match="y"):
        tensors_of({"y": np.zeros(1)}, {})


def message(kind):
    return Message(kind, 1, msgspec.Raw(b"\xc0"), [])


def test_a_batch_is_answered():
    require_infer(message("infer"))


@pytest.mark.parametrize("kind", ["", "Infer", "infer ", "explain", "control"])
def test_anything_else_is_refused_by_its_kind(kind):
    with pytest.raises(Unsupported) as refused:
        require_infer(message(kind))
    assert refused.value.message == f"a replica does not answer '{kind}'"


@pytest.mark.parametrize("error", [InvalidInput("no"), ModelFailed("oh"), VigilError("what")])
def test_an_error_of_ours_is_told_itself(error):
    assert told(error) is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("by zero"), "replica failed: ZeroDivisionError: by zero"),
        (MemoryError(), "replica failed: MemoryError: "),
        (KeyboardInterrupt("now"), "replica failed: KeyboardInterrupt: now"),
    ],
)
def test_whatever_else_was_raised_is_told_as_an_error_of_ours(error, message):
    failed = told(error)
    assert isinstance(failed, ModelFailed)
    assert failed.message == message
    assert failed.cause is not None
    assert failed.cause.type == type(error).__name__


@pytest.mark.parametrize("value", ["Anna"])
def test_the_log_hears_where_it_was_raised_and_no_value(value):
    try:
        int(value)
    except ValueError as error:
        failed = told(error)
    assert value in failed.message  # the client's own
    assert value not in failed.cause.exception
    assert "test_batch_handler.py" in failed.cause.location
