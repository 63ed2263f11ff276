import json
from typing import Any

import numpy as np
import pytest

from serving.cli.infer_codec import HEADER, decode, encode
from serving.errors import InvalidInput
from serving.protocol.datatypes import NUMPY_OF, fp32_to_bf16
from serving.protocol.json.codec import decode_request, encode_response
from serving.protocol.messages import (
    InferRequest,
    InferResponse,
    Parameters,
    RequestedOutput,
    Tensor,
)


def of(datatype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of each value's own."""
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3
    data = np.asarray(numbers, NUMPY_OF[datatype])
    if datatype == "BF16":
        data = fp32_to_bf16(numbers.astype(np.float32) - 1.5)
    if datatype == "BYTES":
        data = np.array([b"\xff\0"] * numbers.size, np.object_).reshape(shape)
    return Tensor("x", datatype, shape, data)


def request_of(*tensors: Tensor, **more: Any) -> InferRequest:
    return InferRequest("m", "", "r", tensors, **more)


def read(body: bytes, headers: dict[str, str]) -> InferRequest:
    length = headers.get(HEADER)
    return decode_request(body, None if length is None else int(length), "m", "")


def same(one: Tensor, other: Tensor) -> None:
    assert (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
    np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("shape", [(2, 3), (), (1,), (0, 3), (2, 0)])
@pytest.mark.parametrize("datatype", NUMPY_OF)
def test_every_tensor_arrives_and_comes_back(datatype: str, shape: tuple[int, ...]) -> None:
    tensor = of(datatype, shape)
    got = read(*encode(request_of(tensor)))
    assert got.id == "r"
    same(got.inputs[0], tensor)
    answered = InferResponse("m", "3", "r", (tensor,), {"vigil_flags": ["a"]})
    content, length = encode_response(answered, got)
    back = decode(content, str(length))
    assert (back.model_name, back.model_version, back.id) == ("m", "3", "r")
    assert back.parameters == {"vigil_flags": ["a"]}
    same(back.outputs[0], tensor)


@pytest.mark.parametrize(
    "given",
    [
        {"priority": 2, "timeout": 5_000_000},
        {"sequence_id": 7, "sequence_start": True, "sequence_end": False},
        {"sensitive_features": '{"sex": ["F"]}', "own": 1.5},
    ],
)
def test_parameters_of_the_request_arrive(given: Parameters) -> None:
    body, headers = encode(request_of(of("FP32", (1,)), parameters=given))
    sent = json.loads(body[: int(headers[HEADER])])["parameters"]
    assert sent == {**given, "binary_data_output": True}


def test_parameters_of_tensors_arrive_but_those_of_their_encoding() -> None:
    mine = Tensor("x", "BYTES", (1,), np.array([b"a"], np.object_),
                  {"content_type": "base64", "own": True})  # fmt: skip
    wanted = (
        RequestedOutput("y", {"classification": 2, "binary_data": False}),
        RequestedOutput("z"),
    )
    theirs = Tensor("w", "INT8", (1,), np.array([1], np.int8), {"content_type": "np"})
    got = read(*encode(request_of(mine, theirs, outputs=wanted)))
    assert [tensor.parameters for tensor in got.inputs] == [{"own": True}, {"content_type": "np"}]
    assert got.outputs == (
        RequestedOutput("y", {"classification": 2, "binary_data": True}),
        RequestedOutput("z", {"binary_data": True}),
    )


def test_what_the_client_does_not_send_is_said_in_its_words() -> None:
    with pytest.raises(InvalidInput, match="triton_mine"):
        encode(request_of(of("FP32", (1,)), parameters={"triton_mine": 1}))


def answer(datatype: str, data: list[Any], shape: list[int], **more: Any) -> bytes:
    output = {"name": "y", "datatype": datatype, "shape": shape, "data": data, **more}
    return json.dumps({"model_name": "m", "outputs": [output]}).encode()


def test_a_server_may_answer_in_json() -> None:
    (text,) = decode(answer("BYTES", ["é", "b"], [2]), None).outputs
    assert text.data.tolist() == ["é".encode(), b"b"]
    (number,) = decode(answer("FP32", [None, 1], [1, 2]), None).outputs
    np.testing.assert_array_equal(number.data, np.array([[np.nan, 1]], np.float32))
    back = decode(answer("FP32", [1], [1]), None)
    assert (back.model_version, back.id, back.parameters) == ("", "", None)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"<html>", b'"\xff"', b"[" * 100_000,
        b'{"model_name": "m", "outputs": [{"name": "y"}]}',
        answer("FP32", [1], [2]),
        answer("FP32", ["a"], [1]),
        answer("INT8", [1000], [1]),
        answer("COMPLEX", [1], [1]),
        answer("FP32", [1], ["1"]),
        answer("FP32", [], [1], parameters={"binary_data_size": 4}),
        answer("BYTES", [], [1], parameters={"binary_data_size": 4}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", [None, "whole", "5", "nonsense", "-1"])
def test_what_is_no_answer(content: bytes, header: str | None) -> None:
    length = str(len(content)) if header == "whole" else header
    with pytest.raises(InvalidInput):
        decode(content, length)


@pytest.mark.parametrize("header", ["+2", " 2", "1_0", "\u0663", "9" * 5000, "99999"])
def test_what_is_no_length_of_an_answer(header: str) -> None:
    content = answer("FP32", [1], [1])
    assert decode(content, str(len(content))).model_name == "m"
    with pytest.raises(InvalidInput, match=r"^this is no answer to an inference$"):
        decode(content, header)
