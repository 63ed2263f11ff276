"""Length-prefixed BYTES elements whose lengths or count are wrong, over HTTP and gRPC."""

import json
import struct
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.e2e

OTHERS: dict[str, tuple[str, list[Any]]] = {
    "bool": ("BOOL", [True, False]),
    "int8": ("INT8", [1, 2]),
    "int16": ("INT16", [1, 2]),
    "int32": ("INT32", [1, 2]),
    "int64": ("INT64", [1, 2]),
    "uint8": ("UINT8", [1, 2]),
    "uint16": ("UINT16", [1, 2]),
    "uint32": ("UINT32", [1, 2]),
    "uint64": ("UINT64", [1, 2]),
    "fp16": ("FP16", [1, 2]),
    "bf16": ("BF16", [1, 2]),
    "fp32": ("FP32", [1, 2]),
    "fp64": ("FP64", [1, 2]),
}


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


CASES = {
    "nothing": b"",
    "one-of-two": packed(b"abc"),
    "three-of-two": packed(b"a", b"b", b"c"),
    "an-empty-third": packed(b"a", b"b", b""),
    "length-cut": packed(b"abc") + b"\x01\x00",
    "element-cut": packed(b"abc", b"def")[:-1],
    "one-byte-more": packed(b"abc", b"def") + b"!",
    "first-reaches-into-second": struct.pack("<I", 5) + b"abc" + packed(b"def"),
    "first-takes-all": struct.pack("<I", 10) + b"abc" + packed(b"def"),
    "largest-length": b"\xff\xff\xff\xff" + packed(b"def"),
    "largest-signed-length": struct.pack("<I", 2**31 - 1) + packed(b"def"),
    "second-too-large": packed(b"abc") + struct.pack("<I", 2**32 - 4) + b"def",
    "big-endian": struct.pack(">I", 3) + b"abc" + struct.pack(">I", 3) + b"def",
    "no-lengths": b"abcdef",
}


def http_body(buffer: bytes, shape: list[int]) -> tuple[bytes, dict[str, str]]:
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype, "shape": [1, 2], "data": data}
        for name, (datatype, data) in OTHERS.items()
    ]
    parameters = {"binary_data_size": len(buffer)}
    inputs.append({"name": "bytes", "datatype": "BYTES", "shape": shape, "parameters": parameters})
    outputs = [{"name": "bytes_out", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return head + buffer, {"Inference-Header-Content-Length": str(len(head))}


def message(buffer: bytes, shape: list[int]) -> Any:
    message = service_pb2.ModelInferRequest(model_name="kinds")
    for name, (datatype, data) in OTHERS.items():
        message.inputs.add(name=name, datatype=datatype, shape=[1, 2])
        kind = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64",
                "BF16": "uint16"}  # fmt: skip
        array = np.array(data, kind.get(datatype, datatype.lower()))
        message.raw_input_contents.append(array.tobytes())
    message.inputs.add(name="bytes", datatype="BYTES", shape=shape)
    message.raw_input_contents.append(buffer)
    message.outputs.add(name="bytes_out")
    return message


@pytest.mark.parametrize("case", CASES)
def test_lengths_that_do_not_add_up(target: Any, case: str) -> None:
    body, headers = http_body(CASES[case], [1, 2])
    target.refused(target.post(body, headers, "kinds"), 400, "'bytes'")
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "'bytes'", message(CASES[case], [1, 2]))


SHAPES = {
    "one-too-many": [1, 3],
    "one-too-few": [1, 1],
    "a-row-more": [2, 2],
    "huge": [2**31, 2**31],
    "wraps-to-2": [2**63 - 1, 2],
    "most": [2**62, 1],
}


@pytest.mark.parametrize("case", SHAPES)
def test_count_that_does_not_add_up(target: Any, case: str) -> None:
    body, headers = http_body(packed(b"abc", b"def"), SHAPES[case])
    target.refused(target.post(body, headers, "kinds"), 400, "'bytes'")
    over_grpc = message(packed(b"abc", b"def"), SHAPES[case])
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "'bytes'", over_grpc)


def test_any_bytes_come_back_as_they_went(target: Any) -> None:
    buffer = packed(b"\0\xff\xfe\n\r", b"")
    body, headers = http_body(buffer, [1, 2])
    answer = target.post(body, headers, "kinds")
    assert answer.status_code == 200, answer.text
    assert answer.content.endswith(buffer)
    reply = service_pb2.ModelInferResponse.FromString(target.call(message(buffer, [1, 2])))
    assert list(reply.raw_output_contents) == [buffer]


def test_bytes_that_are_no_text_are_refused_as_plain_json(target: Any) -> None:
    body, headers = http_body(packed(b"\xff", b""), [1, 2])
    answer = target.post(body.replace(b"true", b"false"), headers, "kinds")
    target.refused(answer, 400)  # the header's length is off by one now
    body = body.replace(b'"binary_data": true', b'"binary_data":false')
    target.refused(target.post(body, headers, "kinds"), 400, "not UTF-8.*base64")


@pytest.mark.parametrize("data", ["a", "a===", "\xe4\xf6", "YQ==\n", "YQ", "!!!!"])
def test_what_is_no_base64(target: Any, data: str) -> None:
    tensor = {"name": "bytes", "datatype": "BYTES", "shape": [1, 2], "data": [data, "YQ=="]}
    tensor["parameters"] = {"content_type": "base64"}
    target.refused(target.post({"inputs": [tensor]}, model="kinds"), 400, "base64")
