"""A model's example in each form in which a client may send a request."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.protocol.example import decode_example
from serving.protocol.pb import open_inference_pb2 as pb

VALUES = np.array([[1.5, -2.0], [0.0, 123.0]], np.float32)
TENSOR = {"name": "x", "datatype": "FP32", "shape": [2, 2]}


def as_json() -> bytes:
    return json.dumps({"inputs": [{**TENSOR, "data": VALUES.ravel().tolist()}]}).encode()


def as_binary(values: np.ndarray = VALUES, before: str = "") -> bytes:
    given = {**TENSOR, "parameters": {"binary_data_size": values.nbytes}}
    return before.encode() + json.dumps({"inputs": [given]}).encode() + values.tobytes()


def as_message() -> bytes:
    message = pb.ModelInferRequest(model_name="another's")
    message.inputs.add(**TENSOR)
    message.raw_input_contents.append(VALUES.tobytes())
    return bytes(message.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [
        as_json(),
        b"\n  " + as_json() + b"\n\n",
        as_binary(),
        as_binary(before="\n "),
        as_message(),
    ],
    ids=["json", "json-with-blanks", "binary", "binary-after-blanks", "message"],
)
def test_every_form_gives_the_same_tensor(content: bytes) -> None:
    request = decode_example(content, "m", "1")
    (tensor,) = request.inputs
    assert (tensor.name, tensor.shape) == ("x", (2, 2))
    np.testing.assert_array_equal(tensor.data, VALUES)


def test_binary_that_looks_like_json() -> None:
    values = np.frombuffer(b'"}]} {"x":  [1]}', np.float32).reshape(2, 2)
    request = decode_example(as_binary(values), "m", "1")
    assert request.inputs[0].data.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no inputs"),
        (b"junk", "not a valid ModelInferRequest"),
        (b"{", "not valid"),
        (as_json()[:-1], "not valid"),
        (as_binary()[:-1], "only 15 bytes are left"),
        (as_binary() + b"xx", "2 bytes"),
    ],
)
def test_what_is_none_of_them_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode_example(content, "m", "1")
