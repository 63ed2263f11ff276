"""Wrong JSON bodies: each gets one sentence, none gets through or raises anything else."""

import json

import pytest

from serving.errors import InvalidInput

GOOD = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'


def fails(decode, body, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        decode(body)
    assert len(caught.value.message) < 500
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no body"),
        (b"[]", "Expected 'object'"),
        (b"null", "Expected 'object'"),
        (b"{}", "'inputs'"),
        (b'{"inputs":[]}', "length >= 1"),
        (b'{"inputs":{}}', "Expected 'array'"),
        (b'{"inputs":[1]}', "Expected 'object'"),
        (b"\xef\xbb\xbf" + GOOD, "malformed"),
        (GOOD + b"x", "trailing"),
        (GOOD[:-1], "truncated"),
        (GOOD.replace(b"[1]}", b"[NaN]}"), "malformed"),
        (GOOD.replace(b"[1]}", b"[Infinity]}"), "malformed"),
        (GOOD.replace(b"[1]}", b"[1e400]}"), "out of range"),
        (GOOD.replace(b"[1]}", b"[" + b"9" * 5000 + b"]}"), "out of range"),
        (GOOD.replace(b"[1]}", b"[" * 100_000), "nested too deeply|malformed|truncated"),
        (GOOD.replace(b"[1]}", b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deeply"),
        (b'{"u":' + b"[" * 100_000 + b"]" * 100_000 + b"," + GOOD[1:], "nested too deeply"),
        (b'{"u":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "nested too deeply"),
        (GOOD.replace(b'"x"', b'"\xff"'), "UTF-8"),
        (b'{"u":"\xff",' + GOOD[1:], "(?i)utf-8"),
        (b'{"u":"\xed\xa0\x80",' + GOOD[1:], "(?i)utf-8"),
        (GOOD.replace(b'"x"', b'"\\ud800"'), "not valid"),
        (GOOD.replace(b'"x"', b'"\\ud800\\u0041"'), "not valid"),
    ],
)
def test_not_a_request(decode, body, words):
    fails(decode, body, words)


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b'"name"', b'"name":"y","name"'),
        GOOD.replace(b'"name"', b'"name":"y","n\\u0061me"'),
        GOOD[:-1] + b"," + GOOD[1:],
        b'{"id":"a","id":"\\u003a",' + GOOD[1:],
        b'{"id":"a","id":"a:a",' + GOOD[1:],
        b'{"parameters":{"a":1,"a":2},' + GOOD[1:],
        b'{"extra":{"a":1,"a":2},' + GOOD[1:],
        b'{"outputs":[{"name":"a","name":"b"}],' + GOOD[1:],
    ],
)
def test_duplicate_keys(decode, body):
    fails(decode, body, "stands twice")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ...}, "'name'"),
        ({"name": ""}, "length >= 1"),
        ({"name": "x" * 10_000}, "length <= 256"),
        ({"shape": [10**4000, 10**4000]}, "<= 9223372036854775807|out of range"),
        ({"name": 1}, "Expected 'str'"),
        ({"datatype": ...}, "'datatype'"),
        ({"datatype": "FP31"}, "unknown datatype 'FP31'"),
        ({"datatype": "fp32"}, "unknown datatype"),
        ({"shape": ...}, "'shape'"),
        ({"shape": 3}, "Expected 'array'"),
        ({"shape": [1, 3.0]}, "Expected 'int'"),
        ({"shape": ["1", 3]}, "Expected 'int'"),
        ({"shape": [True, 3]}, "Expected 'int'"),
        ({"shape": [-1, 3]}, ">= 0"),
        ({"shape": [-1, -3]}, ">= 0"),
        ({"shape": [0, 1 << 49], "data": []}, "is not possible"),
        ({"shape": [2**32, 2**32, 16]}, "but data has 3"),
        ({"shape": [2**32, 2**32, 16], "data": []}, "but data has 0"),
        ({"shape": [2**70, 3]}, "<= 9223372036854775807|out of range"),
        ({"shape": [1] * 33}, "length <= 32"),
        ({"shape": [1000000, 1000000]}, "but data has 3"),
        ({"data": ...}, "neither data nor binary_data_size"),
        ({"data": None}, "Expected 'array'"),
        ({"data": 1}, "Expected 'array'"),
        ({"data": "1,2,3"}, "Expected 'array'"),
        ({"data": {"0": 1}}, "Expected 'array'"),
        ({"data": [1, 2]}, "but data has 2"),
        ({"data": [1, 2, 3, 4]}, "but data has 4"),
        ({"data": [[1, 2]]}, "do not have shape"),
        ({"data": [[1, 2, 3], [4, 5, 6]]}, "do not have shape"),
        ({"data": [[1], [2], [3]]}, "do not have shape"),
        ({"data": [[[1, 2, 3]]]}, "got 'array'"),
        ({"data": [[1, 2, [3]]]}, "got 'array'"),
        ({"data": [1, [2, 3]]}, "got 'array'"),
        ({"data": [[1, 2], 3]}, "Expected 'array'"),
        ({"data": [1, 2, "3"]}, "got 'str'"),
        ({"datatype": "INT32", "data": [1, 2, None]}, "got 'null'"),
        ({"data": [1, 2, True]}, "got 'bool'"),
        ({"shape": [2, 2], "data": [[1, 2, 3], [4]]}, "do not have shape"),
        ({"parameters": {"a": [1]}}, "got 'array'"),
        ({"parameters": {"triton_a": 1}}, "reserved"),
        ({"parameters": []}, "Expected 'object"),
    ],
)
def test_wrong_inputs(decode, make_body, changes, words):
    fails(decode, make_body(changes), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": 1}, "Expected 'str"),
        ({"id": "x" * 10_000}, "longer than 256"),
        ({"parameters": {"vigil_x": 1}}, "reserved"),
        ({"parameters": {"timeout": -1}}, "timeout"),
        ({"parameters": {"a": {"b": 1}}}, "got 'object'"),
        ({"parameters": {"a": 2**64}}, "64 bits"),
        ({"outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y' is given twice"),
        ({"outputs": [{}]}, "'name'"),
        ({"outputs": {"name": "y"}}, "Expected 'array"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "true or false"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "0 or more"),
    ],
)
def test_wrong_rest(decode, make_body, changes, words):
    fails(decode, make_body(**changes), words)


def test_an_input_given_twice(decode):
    one = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    fails(decode, json.dumps({"inputs": [one, one]}).encode(), "input 'x' is given twice")


def test_a_million_outputs_are_refused_quickly(decode, make_body):
    outputs = [{"name": "y"}] * 1_000_000
    fails(decode, make_body(outputs=outputs), "length <= 4096")


def test_what_must_be_read_slowly_is_bounded(decode):
    objects = b'{"u":[' + b'{"a":1},' * 40_000 + b"1]," + GOOD[1:]
    fails(decode, objects, "unknown keys, more than")


def test_data_does_not_count_as_what_must_be_read_slowly(decode):
    numbers = b"[" + b"1," * 200_000 + b"1]"
    body = b'{"id":"a\\nb",' + GOOD[1:].replace(b"[1]}", numbers + b"}")
    body = body.replace(b'"shape":[1]', b'"shape":[200001]')
    assert decode(body).inputs[0].shape == (200_001,)
    fails(decode, body.replace(b'"id"', b'"id":"c","id"', 1), "stands twice")


def test_a_key_twice_behind_a_text_that_looks_like_data(decode):
    lookalike = b'{"k[":",","]z":1,"]z":2,' + GOOD[1:].replace(b"FP32", b"BYTES")
    fails(decode, lookalike.replace(b"[1]}", b'[","]}'), "stands twice")
