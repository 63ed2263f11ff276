"""Bodies that are no JSON, no request, or JSON that parsers read in different ways: 400."""

import json
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.e2e

X = b'{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}'
GOOD = b'{"inputs":[' + X + b"]}"
DEEP = 100_000


def data(text: bytes) -> bytes:
    return GOOD.replace(b"[1,2,3,4]", text)


NOT_A_REQUEST = {
    "empty": (b"", "no body"),
    "blanks": (b" \n ", "truncated|malformed|no body"),
    "array": (b"[]", "Expected 'object'"),
    "null": (b"null", "Expected 'object'"),
    "number": (b"1", "Expected 'object'"),
    "text": (b'"inputs"', "Expected 'object'"),
    "empty-object": (b"{}", "'inputs'"),
    "no-inputs": (b'{"inputs":[]}', "length >= 1"),
    "bom": (b"\xef\xbb\xbf" + GOOD, "malformed"),
    "utf-16": (GOOD.decode().encode("utf-16"), "malformed"),
    "nul": (GOOD + b"\0", "trailing"),
    "nul-in-text": (GOOD.replace(b'"x"', b'"x\0"'), "not valid"),
    "newline-in-text": (GOOD.replace(b'"x"', b'"x\n"'), "not valid"),
    "trailing": (GOOD + b"{}", "trailing"),
    "two-lines": (GOOD + b"\n" + GOOD, "trailing"),
    "truncated": (GOOD[:-1], "truncated"),
    "single-quotes": (GOOD.replace(b'"', b"'"), "malformed"),
    "comment": (GOOD + b"// fine", "trailing"),
    "trailing-comma": (data(b"[1,2,3,4,]"), "not FP32|malformed"),
    "hexadecimal": (data(b"[0x1,2,3,4]"), "malformed"),
    "leading-zero": (data(b"[01,2,3,4]"), "malformed|invalid number"),
    "plus": (data(b"[+1,2,3,4]"), "malformed|invalid number"),
    "nan": (data(b"[NaN,2,3,4]"), "malformed"),
    "infinity": (data(b"[Infinity,2,3,4]"), "malformed"),
    "minus-infinity": (data(b"[-Infinity,2,3,4]"), "malformed|invalid number"),
    "1e400": (data(b"[1e400,2,3,4]"), "out of range"),
    "-1e400": (data(b"[-1e400,2,3,4]"), "out of range"),
    "1e40-to-fp32": (data(b"[1e40,2,3,4]"), "out of range"),
    "5000-digits": (data(b"[" + b"9" * 5000 + b",2,3,4]"), "out of range"),
    "5000-digits-shape": (GOOD.replace(b"[1,4]", b"[" + b"9" * 5000 + b"]"), "out of range"),
    "5000-digits-parameter": (
        b'{"parameters":{"a":' + b"9" * 5000 + b"}," + GOOD[1:], "out of range|64 bits",
    ),
    "5000-digits-unknown-key": (b'{"a":' + b"9" * 5000 + b"," + GOOD[1:], ""),
    "deep-data": (data(b"[" * DEEP + b"]" * DEEP), "nested too deeply"),
    "deep-and-cut": (data(b"[" * DEEP), "nested too deeply|malformed|truncated"),
    "deep-unknown-key": (b'{"u":' + b"[" * DEEP + b"]" * DEEP + b"," + GOOD[1:], "too deeply"),
    "deep-objects": (b'{"u":' * DEEP + b"1" + b"}" * DEEP, "too deeply"),
    "deep-parameter": (
        b'{"parameters":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}," + GOOD[1:], "Expected|deeply",
    ),
    "not-utf-8": (GOOD.replace(b'"x"', b'"\xff"'), "UTF-8"),
    "overlong-utf-8": (GOOD.replace(b'"x"', b'"\xc0\x80"'), "UTF-8"),
    "surrogate-in-utf-8": (GOOD.replace(b'"x"', b'"\xed\xa0\x80"'), "UTF-8"),
    "not-utf-8-unknown-key": (b'{"u":"\xff",' + GOOD[1:], "(?i)utf-8"),
    "lone-surrogate-name": (GOOD.replace(b'"x"', b'"\\ud800"'), "not valid"),
    "lone-low-surrogate": (GOOD.replace(b'"x"', b'"\\udc00"'), "not valid"),
    "swapped-surrogates": (GOOD.replace(b'"x"', b'"\\udc00\\ud800"'), "not valid"),
    "lone-surrogate-id": (b'{"id":"\\ud800",' + GOOD[1:], "not valid"),
    "lone-surrogate-parameter": (b'{"parameters":{"a":"\\ud800"},' + GOOD[1:], "not valid"),
}  # fmt: skip

TWICE = {
    "inputs": GOOD[:-1] + b"," + GOOD[1:],
    "id": b'{"id":"a","id":"b",' + GOOD[1:],
    "id-with-a-colon": b'{"id":"a","id":"a:a",' + GOOD[1:],
    "id-escaped": b'{"id":"a","i\\u0064":"b",' + GOOD[1:],
    "name": GOOD.replace(b'"name"', b'"name":"y","name"'),
    "datatype": GOOD.replace(b'"datatype"', b'"datatype":"INT32","datatype"'),
    "shape": GOOD.replace(b'"shape"', b'"shape":[4],"shape"'),
    "data": GOOD.replace(b'"data"', b'"data":[9,9,9,9],"data"'),
    "parameter": b'{"parameters":{"a":1,"a":2},' + GOOD[1:],
    "unknown-key": b'{"u":1,"u":2,' + GOOD[1:],
    "in-unknown-object": b'{"u":{"a":1,"a":2},' + GOOD[1:],
    "output": b'{"outputs":[{"name":"a","name":"x_out"}],' + GOOD[1:],
}


@pytest.mark.parametrize("case", NOT_A_REQUEST)
def test_no_request(target: Any, case: str) -> None:
    body, words = NOT_A_REQUEST[case]
    if case == "5000-digits-unknown-key":  # what nobody reads is nobody's problem
        assert target.post(body).status_code in (200, 400)
        return
    target.refused(target.post(body), 400, words)


@pytest.mark.parametrize("case", TWICE)
def test_a_key_twice(target: Any, case: str) -> None:
    target.refused(target.post(TWICE[case]), 400, "stands twice")


def test_good_json_in_unusual_clothes_is_answered(target: Any) -> None:
    body = b" \r\n\t" + GOOD.replace(b'"name"', b'"na\\u006de"').replace(
        b"[1,2,3,4]", b"[1e0, 2.0 ,3,4]"
    )
    answer = target.post(body + b"\n")
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]


def test_text_beyond_the_basic_plane_is_no_lone_surrogate(target: Any) -> None:
    answer = target.post(b'{"id":"\\ud83d\\ude00",' + GOOD[1:])
    assert answer.json()["id"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_json_lacks_comes_out_as_null(target: Any, value: str) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 16}}]}).encode()
    row = np.array([float(value), 1, 2, 3], np.float32).tobytes()
    answer = target.post(head + row, {"inference-header-content-length": str(len(head))})

    def never(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    outputs = json.loads(answer.text, parse_constant=never)["outputs"]
    assert outputs[0]["data"] == [None, 1, 2, 3]


OTHER_BODIES = {
    "empty-labels": ("/v2/models/echo/labels", b""),
    "labels-array": ("/v2/models/echo/labels", b"[]"),
    "labels-deep": ("/v2/models/echo/labels", b'{"labels":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "labels-surrogate": ("/v2/models/echo/labels", b'{"labels":[{"id":"\\ud800","y_true":1}]}'),
    "labels-not-utf-8": ("/v2/models/echo/labels", b'{"labels":[{"id":"\xff","y_true":1}]}'),
    "labels-infinity": ("/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1e400}]}'),
    "labels-unknown-not-utf-8": ("/v2/models/echo/labels", b'{"u":"\xff","labels":[]}'),
    "labels-index": (
        "/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1,"index":9999999999999999999}]}',
    ),
    "labels-timestamp": (
        "/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1,"timestamp":"yesterday"}]}',
    ),
    "labels-year-1": (
        "/v2/models/echo/labels",
        b'{"labels":[{"id":"a","y_true":1,"timestamp":"0001-01-01T00:00:00"}]}',
    ),
    "labels-negative-index": (
        "/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1,"index":-1}]}',
    ),
    "labels-twice": ("/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1}],"labels":[]}'),
    "label-key-twice": ("/v2/models/echo/labels", b'{"labels":[{"id":"a","y_true":1,"y_true":0}]}'),
    "explain-empty": ("/v2/models/echo/explain", b""),
    "explain-deep": ("/v2/models/echo/explain", b"[" * DEEP),
    "explain-not-utf-8": ("/v2/models/echo/explain", b'{"u":"\xff"}'),
    "index-array": ("/v2/repository/index", b"[]"),
    "index-text": ("/v2/repository/index", b'{"ready":"true"}'),
    "index-deep": ("/v2/repository/index", b'{"u":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "index-not-utf-8": ("/v2/repository/index", b'{"u":"\xff"}'),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER_BODIES)
def test_other_bodies(target: Any, case: str) -> None:
    path, body = OTHER_BODIES[case]
    target.refused(target.http.post(path, content=body), 400)
