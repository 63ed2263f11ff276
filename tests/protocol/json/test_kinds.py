"""Which form a request has, and what its decoder takes and leaves to the codec."""

from __future__ import annotations

import json

import msgspec
import pytest

from serving.errors import InvalidInput, VigilError
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.json.data import UNREADABLE
from serving.protocol.json.kinds import (
    Binary,
    Booleans,
    Floats,
    Integers,
    Text,
    Unfit,
    decoder,
    kind_of,
    kinds_of,
    known_outputs,
    known_parameters,
)
from serving.protocol.json.wire import read_request
from serving.protocol.messages import RequestedOutput


def wire(*inputs):
    given = [{"name": "x", "shape": [1], **one} for one in inputs]
    return read_request(json.dumps({"inputs": given}).encode())


def request(*inputs, **more):
    given = [{"name": "x", "shape": [1], **one} for one in inputs]
    return json.dumps({"inputs": given, **more}).encode()


FLOATS = {"datatype": "FP32", "data": [1.5]}
INTEGERS = {"datatype": "INT8", "data": [1]}
BOOLEANS = {"datatype": "BOOL", "data": [True]}
TEXT = {"datatype": "BYTES", "data": ["a"]}
BINARY = {"datatype": "FP32", "parameters": {"binary_data_size": 4}}


@pytest.mark.parametrize("datatype", [*NUMPY_OF, "FP31", ""])
def test_the_kind_follows_from_the_datatype(datatype):
    kind = kind_of(datatype, b"[1]")
    if datatype == "BOOL":
        assert kind is Booleans
    elif "INT" in datatype:
        assert kind is Integers
    else:
        assert kind is (Floats if datatype in ("FP16", "FP32", "FP64") else Text)


@pytest.mark.parametrize(
    ("data", "flat"),
    [
        (b"[1,2]", True),
        (b" \n[ 1]", True),
        (b"[]", True),
        (b"[[1]]", False),
        (b"[ \t[1]]", False),
        (b"[1,null]", False),
        (b"1", False),
        (b"", False),
        (b"[", False),
        (b"null", False),
    ],
)
def test_only_flat_lists_of_numbers_are_lists(data, flat):
    for datatype, kind in (("FP32", Floats), ("INT64", Integers), ("BOOL", Booleans)):
        assert kind_of(datatype, data) is (kind if flat else Text)


def test_kinds_of_several_inputs_keep_their_order():
    kinds = kinds_of(wire(TEXT, FLOATS, BINARY, BOOLEANS, INTEGERS))
    assert kinds == (Text, Floats, Binary, Booleans, Integers)


@pytest.mark.parametrize("parameters", [None, {}, {"a": 1, "binary_data_size": 4}])
def test_an_input_without_data_that_says_more_or_nothing_is_of_no_kind(parameters):
    assert kinds_of(wire(FLOATS, {"datatype": "FP32", "parameters": parameters})) is None
    assert kinds_of(wire({"datatype": "FP32"})) is None


def test_many_inputs_are_of_no_kind():
    assert kinds_of(wire(*[FLOATS] * 16)) == (Floats,) * 16
    assert kinds_of(wire(*[FLOATS] * 17)) is None


def test_a_decoder_reads_what_is_of_its_kinds():
    kinds = (Floats, Integers, Booleans, Text, Binary)
    got = decoder(kinds)(request(FLOATS, INTEGERS, BOOLEANS, TEXT, BINARY, id="i"))
    assert tuple(map(type, got.inputs)) == kinds
    floats, integers, booleans, text, binary = got.inputs
    assert (floats.data, integers.data, booleans.data) == ([1.5], [1], [True])
    assert bytes(text.data) == b'["a"]'
    assert binary.parameters.binary_data_size == 4
    assert (got.id, bytes(got.parameters), bytes(got.outputs)) == ("i", b"", b"")


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (Floats, {**FLOATS, "data": [None]}),
        (Floats, {**FLOATS, "data": [[1]]}),
        (Floats, {**FLOATS, "data": [True]}),
        (Integers, {**INTEGERS, "data": [1.0]}),
        (Integers, {**INTEGERS, "data": [True]}),
        (Booleans, {**BOOLEANS, "data": [1]}),
        (Floats, {**FLOATS, "shape": [-1]}),
        (Floats, {**FLOATS, "name": ""}),
        (Floats, BINARY),
        (Text, BINARY),
        (Binary, {"datatype": "FP32"}),
        (Binary, {**BINARY, "parameters": {"binary_data_size": "4"}}),
        (Binary, {**BINARY, "parameters": {}}),
    ],
)
def test_a_decoder_refuses_what_is_of_another_kind(kind, other):
    with pytest.raises(UNREADABLE):
        decoder((kind,))(request(other))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_decoder_wants_as_many_inputs(count):
    with pytest.raises(UNREADABLE):
        decoder((Floats, Floats))(request(*[FLOATS] * count))


@pytest.mark.parametrize(
    ("kind", "one"),
    [(Floats, FLOATS), (Integers, INTEGERS), (Booleans, BOOLEANS), (Text, TEXT), (Binary, BINARY)],
)
def test_kinds_know_how_many_keys_they_have(kind, one):
    text = request(one)
    assert 1 + kind.keys == text.count(b":")


@pytest.mark.parametrize(
    ("text", "parameters", "keys"),
    [
        (b"null", None, 0),
        (b"{}", None, 0),
        (b'{"a":null}', None, 1),
        (b'{"a":1,"b":null}', {"a": 1}, 2),
        (b'{"content_type":"np"}', {"content_type": "np"}, 1),
    ],
)
def test_parameters_are_known_with_their_keys(text, parameters, keys):
    first = known_parameters(msgspec.Raw(text))
    assert first == (parameters, keys)
    assert known_parameters(msgspec.Raw(text)) is first


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":"b:c"}',
        b'{"binary_data_size":4}',
        b'{"a":"%b"}' % (b"x" * 1017),
    ],
)
def test_parameters_that_need_another_look(text):
    for _ in range(2):
        with pytest.raises(Unfit):
            known_parameters(msgspec.Raw(text))


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b'{"a":[1]}', b'{"a":', b'{"a":"\xff"}'])
def test_parameters_that_are_none(text):
    with pytest.raises(UNREADABLE):
        known_parameters(msgspec.Raw(text))


def test_wrong_parameters_are_refused_each_time():
    for _ in range(2):
        with pytest.raises(VigilError, match="reserved"):
            known_parameters(msgspec.Raw(b'{"triton_a":1}'))


def test_what_is_kept_has_a_longest_text():
    longest = b'{"a":"%b"}' % (b"x" * 1016)
    assert len(longest) == 1024
    assert known_parameters(msgspec.Raw(longest))[1] == 1


@pytest.mark.parametrize(
    ("text", "outputs", "keys"),
    [
        (b"null", (), 0),
        (b"[]", (), 0),
        (b'[{"name":"y"}]', (RequestedOutput("y"),), 1),
        (
            b'[{"name":"y","parameters":{"classification":2}},{"name":"z","parameters":null}]',
            (RequestedOutput("y", {"classification": 2}), RequestedOutput("z")),
            5,
        ),
    ],
)
def test_outputs_are_known_with_their_keys(text, outputs, keys):
    first = known_outputs(msgspec.Raw(text))
    assert first == (outputs, keys)
    assert known_outputs(msgspec.Raw(text)) is first


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'[{"name":"y","name":"z"}]', Unfit),
        (b'[{"name":"y:0"}]', Unfit),
        (b'[{"name":"y","other":1}]', Unfit),
        (b'[{"name":"y"},{"name":"y"}]', InvalidInput),
        (b'[{"name":"y","parameters":{"classification":-1}}]', InvalidInput),
        (b'[{"name":""}]', UNREADABLE),
        (b'{"name":"y"}', UNREADABLE),
        (b"[" + b",".join([b'{"name":"y"}'] * 4097) + b"]", UNREADABLE),
    ],
)
def test_outputs_that_the_codec_must_look_at(text, error):
    for _ in range(2):
        with pytest.raises(error):
            known_outputs(msgspec.Raw(text))
