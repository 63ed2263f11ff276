"""The binary extension's lengths and sizes, when they lie: 400, and nobody's bytes are mixed."""

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.e2e

ROW = np.array([1, 2, 3, 4], np.float32).tobytes()
LENGTH = "Inference-Header-Content-Length"


def head(size: Any = 16, **changes: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    tensor["parameters"] = {"binary_data_size": size}
    return json.dumps({"inputs": [{**tensor, **changes}]}).encode()


HEADER_VALUES = {
    "minus-1": "-1",
    "text": "x",
    "hexadecimal": "0x10",
    "fraction": "10.0",
    "exponent": "1e2",
    "plus": "+10",
    "underscore": "1_0",
    "two-numbers": "10, 20",
    "inner-blank": "1 0",
    "larger-than-the-body": "100000",
    "99999999999": "99999999999",
    "beyond-64-bits": "18446744073709551616",
    "5000-digits": "9" * 5000,
    "shorter-than-the-json": "10",
    "1": "1",
}


@pytest.mark.parametrize("case", HEADER_VALUES)
def test_header_that_lies(target: Any, case: str) -> None:
    answer = target.post(head() + ROW, {LENGTH: HEADER_VALUES[case]})
    target.refused(answer, 400)


@pytest.mark.parametrize("last", ["wrong", "right", "the-same"])
def test_two_headers_are_not_one_of_them(target: Any, last: str) -> None:
    json_part = head()
    right, wrong = (LENGTH, str(len(json_part))), (LENGTH, str(len(json_part) - 1))
    headers = {"wrong": [right, wrong], "right": [wrong, right], "the-same": [right, right]}[last]
    answer = target.http.post("/v2/models/echo/infer", content=json_part + ROW, headers=headers)
    target.refused(answer, 400)


def test_header_0_with_several_inputs(target: Any) -> None:
    target.refused(target.post(ROW, {LENGTH: "0"}, "kinds"), 400, "one input")


@pytest.mark.parametrize("size", [0, 1, 15, 17, 1001])
def test_header_0_with_a_body_that_is_no_row(target: Any, size: int) -> None:
    says = "not a multiple of 16" if size else "the body is empty"
    target.refused(target.post(bytes(size), {LENGTH: "0"}), 400, says)


SIZES: dict[str, Any] = {
    "minus-1": -1,
    "minus-16": -16,
    "text": "16",
    "fraction": 16.0,
    "true": True,
    "list": [16],
    "beyond-64-bits": 2**70,
    "past-the-end": 17,
    "far-past-the-end": 2**63 - 1,
    "too-small": 12,
    "zero": 0,
    "null": None,
}


@pytest.mark.parametrize("case", SIZES)
def test_size_that_lies(target: Any, case: str) -> None:
    json_part = head(SIZES[case])
    target.refused(target.post(json_part + ROW, {LENGTH: str(len(json_part))}), 400)


WHOLE: dict[str, tuple[bytes, bytes]] = {
    "bytes-left-over": (head(), ROW + b"\0"),
    "a-row-left-over": (head(), ROW + ROW),
    "one-byte-short": (head(), ROW[:-1]),
    "nothing-follows": (head(), b""),
    "with-data-too": (head(data=[1, 2, 3, 4]), ROW),
    "with-null-data-too": (head(data=None), ROW),
    "shape-needs-more": (head(shape=[2, 4]), ROW),
    "shape-wraps-around": (head(shape=[2**32, 2**32, 16]), ROW),
    "shape-product-is-4-in-64-bits": (head(shape=[2**62 + 1, 4]), ROW),
    "shape-of-minus-1": (head(shape=[-1, 4]), ROW),
    "size-nobody-asked-for": (b'{"inputs":[]}', ROW),
    "data-in-json-and-bytes-behind": (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}', ROW,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_bytes_that_do_not_add_up(target: Any, case: str) -> None:
    json_part, rest = WHOLE[case]
    target.refused(target.post(json_part + rest, {LENGTH: str(len(json_part))}), 400)


def test_size_without_the_header(target: Any) -> None:
    target.refused(target.post(head()), 400, "is missing")
    target.refused(target.post(head() + ROW), 400)


def kinds(sizes: dict[str, int]) -> dict[str, Any]:
    known = {"int8": ("INT8", 2), "bool": ("BOOL", 2), "int32": ("INT32", 8)}
    return {
        "inputs": [
            {
                "name": name,
                "datatype": known[name][0],
                "shape": [1, 2],
                "parameters": {"binary_data_size": size},
            }
            for name, size in sizes.items()
        ]
    }


@pytest.mark.parametrize(
    "sizes",
    [
        {"int8": 4, "bool": 2, "int32": 8},
        {"int8": 2, "bool": 2, "int32": 10},
        {"int8": 8, "bool": 2, "int32": 2},
        {"int8": 12, "bool": 12, "int32": 12},
        {"int8": 0, "bool": 4, "int32": 8},
    ],
    ids=["first-takes-the-second's", "last-past-the-end", "swapped", "all-of-it-each", "moved"],
)
def test_tensors_that_would_overlap(target: Any, sizes: dict[str, int]) -> None:
    json_part = json.dumps(kinds(sizes)).encode()
    answer = target.post(json_part + bytes(12), {LENGTH: str(len(json_part))}, "kinds")
    target.refused(answer, 400)


@pytest.mark.parametrize("value", [2, 0x7F, 0xFF])
def test_a_bool_that_is_neither_0_nor_1(target: Any, value: int) -> None:
    tensor = {"name": "bool", "datatype": "BOOL", "shape": [1, 2]}
    tensor["parameters"] = {"binary_data_size": 2}
    json_part = json.dumps({"inputs": [tensor]}).encode()
    answer = target.post(json_part + bytes([1, value]), {LENGTH: str(len(json_part))}, "kinds")
    target.refused(answer, 400, "0 or 1")


def test_what_is_right_is_answered_in_binary(target: Any) -> None:
    json_part = head()[:-1] + b',"parameters":{"binary_data_output":true}}'
    answer: httpx.Response = target.post(json_part + ROW, {LENGTH: str(len(json_part))})
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[LENGTH])
    assert struct.unpack("<4f", answer.content[length:]) == (1, 2, 3, 4)
