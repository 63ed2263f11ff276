"""The JSON form of a request: what is read of it, and that no key stands twice."""

from __future__ import annotations

import json

import msgspec
import pytest

from serving.errors import InvalidInput
from serving.protocol.json import wire as wire_module
from serving.protocol.json.wire import (
    NO_DATA,
    WireOutput,
    WireRequest,
    count_output_keys,
    offset,
    read_request,
)

ONE = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}


def text_of(one=None, **more):
    return json.dumps({"inputs": [{**ONE, **(one or {})}], **more}).encode()


def refusal(text):
    with pytest.raises(InvalidInput) as told:
        read_request(text)
    assert "\n" not in told.value.message
    return told.value.message


@pytest.fixture
def quick(monkeypatch):
    """No request may be looked through for keys that stand twice."""
    monkeypatch.setattr(wire_module, "refuse_duplicates", lambda *_: 1 / 0)


def test_data_is_kept_as_it_was_written():
    text = text_of().replace(b"[1]}", b"[ 1e400 , nul ]}").replace(b" nul ", b" null ")
    (given,) = read_request(text).inputs
    assert bytes(given.data).strip() == b"[ 1e400 , null ]"
    assert offset(given.data, text) == text.index(bytes(given.data))


def test_what_is_null_is_not_what_is_not_there():
    absent = read_request(text_of())
    assert (absent.id, absent.parameters, absent.outputs) == (msgspec.UNSET,) * 3
    assert absent.inputs[0].parameters is msgspec.UNSET
    null = read_request(text_of({"parameters": None}, id=None, parameters=None, outputs=None))
    assert (null.id, null.parameters, null.outputs) == (None, None, None)
    assert null.inputs[0].parameters is None
    without = {key: ONE[key] for key in ("name", "datatype", "shape")}
    assert read_request(json.dumps({"inputs": [without]}).encode()).inputs[0].data is NO_DATA
    assert bytes(read_request(text_of({"data": None})).inputs[0].data).strip() == b"null"


def test_what_has_no_body_is_told_what_to_send():
    assert refusal(b"") == "the request has no body; send an inference request"
    assert refusal(b" ").startswith("the request is not valid: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "n" * 256, "shape": [1] * 32}, None),
        ({"shape": [2**63 - 1, 0]}, None),
        ({"shape": []}, None),
        ({"name": "n" * 257}, "length <= 256"),
        ({"name": ""}, "length >= 1"),
        ({"shape": [1] * 33}, "length <= 32"),
        ({"shape": [-1]}, ">= 0"),
        ({"shape": [2**63]}, "<= 9223372036854775807"),
        ({"shape": [1.0]}, "Expected 'int'"),
        ({"datatype": None}, "Expected 'str'"),
        ({"parameters": {"p": []}}, "got 'array'"),
    ],
)
def test_limits_of_an_input(changes, words):
    text = text_of(changes)
    if words is None:
        assert len(read_request(text).inputs) == 1
    else:
        assert words in refusal(text)


def test_limits_of_a_request():
    most = wire_module.MOST_TENSORS
    for field, one in (("inputs", ONE), ("outputs", {"name": "y"})):
        given = {"inputs": [ONE], field: [one] * most}
        assert len(getattr(read_request(json.dumps(given).encode()), field)) == most
        given[field] = [one] * (most + 1)
        assert f"length <= {most}" in refusal(json.dumps(given).encode())
    assert "length >= 1" in refusal(b'{"inputs":[]}')
    assert read_request(text_of(outputs=[])).outputs == []


@pytest.mark.parametrize(
    ("one", "more"),
    [
        ({}, {}),
        ({"parameters": {}}, {"parameters": {}, "id": "", "outputs": []}),
        ({"parameters": None}, {"parameters": None, "id": None, "outputs": None}),
        ({"parameters": {"a": 1, "b": "c"}}, {"parameters": {"p": None}, "id": "i"}),
        ({}, {"outputs": [{"name": "y"}, {"name": "z", "parameters": {"classification": 1}}]}),
        ({}, {"outputs": [{"name": "y", "parameters": None}]}),
        # Colons in texts, wherever there are texts.
        ({"name": "x:0", "datatype": "::"}, {"id": "a:b"}),
        ({"parameters": {"k:k": "v:v"}}, {"parameters": {"p:": ":"}}),
        ({}, {"outputs": [{"name": "y:", "parameters": {"q:": ":"}}]}),
        ({"data": ["a:b", ":"]}, {}),
    ],
)
def test_usual_requests_are_not_read_twice(quick, one, more):
    assert isinstance(read_request(text_of(one, **more)), WireRequest)


@pytest.mark.parametrize(
    ("known", "other"),
    [
        ('"name":', '"name":"y","name":'),
        ('"data":', '"data":[2],"data":'),
        ('"inputs":', '"id":"a","id":"b","inputs":'),
        ('"inputs":', '"id":"a:","id":"b","inputs":'),
        ('"inputs":', '"id":"b","id":"\\u003a","inputs":'),
        ('"inputs":', '"parameters":{"a":1,"a":1},"inputs":'),
        ('"inputs":', '"parameters":null,"parameters":{},"inputs":'),
        ('"inputs":', '"outputs":[{"name":"y","name":"y"}],"inputs":'),
        ('"inputs":', '"other":{"a":{"b":1,"b":2}},"inputs":'),
        ('"inputs":', '"other":1,"other":2,"inputs":'),
        ('"inputs":', '"inputs":[{"name":"x","datatype":"D","shape":[]}],"inputs":'),
        ('"data":', '"parameters":{"a":1,"a":2},"data":'),
        ('"name":', '"na\\u006de":"y","name":'),
        # The text of the data, where no data lies.
        ('"inputs":', '"other":"[1]","k":1,"k":[1],"inputs":'),
    ],
)
def test_no_key_stands_twice(known, other):
    text = json.dumps({"inputs": [ONE]}, separators=(",", ":")).replace(known, other, 1)
    assert "stands twice in one object" in refusal(text.encode())


def test_unknown_keys_are_ignored_after_a_look():
    assert read_request(text_of(other={"a": 1, "b": {"a": 2}})).inputs[0].name == "x"
    assert read_request(text_of(id="\\:é")).id == "\\:é"


def test_an_object_in_data_is_no_concern_here():
    # It is refused with the data, whatever the datatype is.
    assert read_request(text_of(id="\\").replace(b"[1]}", b'[{"a":1,"a":2}]}')).id == "\\"


@pytest.mark.parametrize("data", [b"", b"1", b"[" + b"1," * 300_000 + b"1]"])
def test_what_is_looked_through_is_without_the_data(monkeypatch, data):
    seen = []
    monkeypatch.setattr(wire_module, "refuse_duplicates", lambda text, what: seen.append(text))
    second = b'{"name":"z","datatype":"D","shape":[1]%b}' % (b',"data":' + data if data else b"")
    read_request(b'{"other":1,"inputs":[%b,%b]}' % (second, second))
    kept = b"" if not data else b',"data":' + (data if len(data) < 2 else b"0")
    one = b'{"name":"z","datatype":"D","shape":[1]%b}' % kept
    assert seen == [b'{"other":1,"inputs":[%b,%b]}' % (one, one)]


def test_keys_of_outputs_are_counted():
    outputs = [WireOutput("a"), WireOutput("b", {}), WireOutput("c", {"p": 1, "q": 2})]
    outputs.append(WireOutput("d", None))
    assert count_output_keys(outputs) == 1 + 2 + 4 + 2
    assert count_output_keys([]) == 0
