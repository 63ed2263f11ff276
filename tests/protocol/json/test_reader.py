"""Requests that are recognised as bytes give what the codec gives."""

from __future__ import annotations

import json
import random

import numpy as np
import orjson
import pytest
import tritonclient.http

from serving.errors import InvalidInput, VigilError
from serving.protocol.json.codec import decode_request
from serving.protocol.json.reader import RequestReader


def body(data, shape=(1, 3), datatype="FP32", **more):
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return orjson.dumps({"inputs": [tensor], **more})


def said(request):
    """Return all that a request says; an id that we made is left out."""
    inputs = [
        (
            t.name, t.datatype, t.shape, t.data.dtype, t.data.shape, t.parameters,
            t.data.tolist() if t.datatype == "BYTES" else t.data.tobytes(),
        )
        for t in request.inputs
    ]  # fmt: skip
    named = (request.model_name, request.model_version, len(request.id) == 36 or request.id)
    return (*named, inputs, request.outputs, request.parameters)


def outcome(read, text):
    """Return all that a request or its error says."""
    try:
        return said(read(text))
    except VigilError as error:
        return type(error), error.message


def of_codec(text):
    return outcome(lambda text: decode_request(text, None, "m", "1", "id"), text)


def of(reader, text):
    return outcome(lambda text: reader.read(text, None, "m", "1", "id"), text)


FIRST = body([1.5, 2.5, 3.5], outputs=[{"name": "y"}], parameters={"priority": 2})
SECOND = body([-1.5, 1e-3, 3], outputs=[{"name": "y"}], parameters={"priority": 2})


def test_other_numbers_in_the_same_words_are_recognised(monkeypatch):
    reader = RequestReader()
    assert of(reader, FIRST) == of_codec(FIRST)
    want = of_codec(SECOND)
    monkeypatch.setattr("serving.protocol.json.reader.read_request", lambda _: 1 / 0)
    assert of(reader, SECOND) == want
    assert reader.read(SECOND, None, "m", "1", "mine").id == "mine"
    assert reader.read(SECOND, None, "m", "1").id != reader.read(SECOND, None, "m", "1").id
    with pytest.raises(ZeroDivisionError):  # another model's words are not known
        reader.read(SECOND, None, "n", "1")


@pytest.mark.parametrize(
    "text",
    [
        body([1.0, 2.0], outputs=[{"name": "y"}], parameters={"priority": 2}),
        body([[1.0, 2.0, 3.0]], outputs=[{"name": "y"}], parameters={"priority": 2}),
        body([1.0, "2", 3.0], outputs=[{"name": "y"}], parameters={"priority": 2}),
        body([1.0, 1e39, 3.0], outputs=[{"name": "y"}], parameters={"priority": 2}),
        body([1.0, None, 3.0], outputs=[{"name": "y"}], parameters={"priority": 2}),
        body([1.0, 2.0, 3.0], outputs=[{"name": "z"}], parameters={"priority": 2}),
        body([1.0, 2.0, 3.0], outputs=[{"name": "y"}], parameters={"priority": 3}),
        FIRST.replace(b"3.5]", b'3.5],"data":[1.0,2.0,3.0]'),
        FIRST.replace(b"[1.5,2.5,3.5]", b'[1.5,2.5,3.5],"parameters":{}'),
        FIRST.replace(b"[1.5,2.5,3.5]", b" [1.5, 2.5 ,3.5] "),
        FIRST.replace(b"[1.5,2.5,3.5]", b""),
        FIRST[: FIRST.index(b"[1.5")],
        FIRST[FIRST.index(b"3.5]") + 4 :],
        b"",
    ],
)
def test_whatever_comes_is_read_as_the_codec_reads_it(text):
    reader = RequestReader()
    reader.read(FIRST, None, "m", "1")
    assert of(reader, text) == of_codec(text)
    assert of(reader, SECOND) == of_codec(SECOND)


def test_any_change_of_bytes_is_read_as_the_codec_reads_it():
    generator = random.Random(3)
    reader = RequestReader()
    for _ in range(4000):
        text = bytearray(generator.choice([FIRST, SECOND]))
        for _ in range(generator.choice([0, 1, 1, 2])):
            at = generator.randrange(len(text))
            piece = generator.choice([b"", b"[", b"]", b",", b'"', b"1", b"-", b"{", b"}", b":"])
            text[at : at + generator.randrange(2)] = piece
        assert of(reader, bytes(text)) == of_codec(bytes(text)), text


@pytest.mark.parametrize(
    "text",
    [
        body(["a", "b", "c"], datatype="BYTES"),
        body([1.0, 2.0, 3.0], id="7"),
        body([1, 2, 3], datatype="INT64"),
        body([True, False, True], datatype="BOOL"),
        body([1.0, 2.0, 3.0], datatype="BF16"),
        body(np.arange(12.0).tolist(), shape=(4, 3)),
        orjson.dumps({"inputs": orjson.loads(FIRST)["inputs"] * 2}),
    ],
)
def test_kinds_of_requests(text):
    reader = RequestReader()
    for _ in range(3):
        assert of(reader, text) == of_codec(text)
    if b'"id"' in text:
        assert reader.read(text, None, "m", "1", "header").id == "7"


def test_what_a_real_client_changes_is_no_other_form(form, monkeypatch):
    """Its own id, other numbers of other lengths, another number of rows."""
    reader = RequestReader()
    bodies = [form(f"{number}-é" * number, number) for number in range(1, 6)]
    for text, length in bodies:
        want = decode_request(text, length, "m", "1", "header")
        got = reader.read(text, length, "m", "1", "header")
        assert said(got) == said(want)
        monkeypatch.setattr("serving.protocol.json.reader.read_request", lambda _: 1 / 0)


def _numbers(rows):
    return np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)


def _tensor(rows, **more):
    return {"name": "x", "shape": [rows, 3], "datatype": "FP32", **more}


def _tritonclient(binary):
    def form(ident, rows):
        x = tritonclient.http.InferInput("x", [rows, 3], "FP32")
        x.set_data_from_numpy(_numbers(rows), binary_data=binary)
        z = tritonclient.http.InferInput("z", [rows, 3], "INT64")
        z.set_data_from_numpy(np.full((rows, 3), rows, np.int64), binary_data=binary)
        y = tritonclient.http.InferRequestedOutput("y", binary_data=binary)
        return tritonclient.http.InferenceServerClient.generate_request_body(
            [x, z], [y], request_id=ident, priority=3
        )

    return form


def _dumped(separators=None, *, nested=False, id_first=False):
    def form(ident, rows):
        data = _numbers(rows).tolist() if nested else _numbers(rows).ravel().tolist()
        request = {"inputs": [_tensor(rows, data=data)], "outputs": [{"name": "y"}]}
        request = {"id": ident, **request} if id_first else {**request, "id": ident}
        text = json.dumps(request, separators=separators, ensure_ascii=False)
        return text.encode(), None

    return form


def _pydantic(ident, rows):
    """As KServe's and MLServer's clients write it: every field, and null where it is not set."""
    data = _numbers(rows).ravel().tolist()
    tensor = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "parameters": None, "data": data}
    request = {"id": ident, "parameters": {"content_type": "np"}, "inputs": [tensor]}
    return orjson.dumps({**request, "outputs": None}), None


def _data_first(ident, rows):
    tensor = {"data": _numbers(rows).ravel().tolist(), **_tensor(rows)}
    texts = {"name": "t", "datatype": "BYTES", "data": [f"a:{ident}"] * rows, "shape": [rows]}
    return orjson.dumps({"inputs": [tensor, texts], "id": ident}), None


def _binary(ident, rows):
    raw = _numbers(rows).tobytes()
    tensor = _tensor(rows, parameters={"binary_data_size": len(raw)})
    request = {"inputs": [tensor], "id": ident, "parameters": {"binary_data_output": True}}
    head = orjson.dumps(request)
    return head + raw, len(head)


def _half_in_binary(ident, rows):
    raw = _numbers(rows).tobytes()
    binary = _tensor(rows, parameters={"binary_data_size": len(raw)})
    plain = {"name": "z", "shape": [rows], "datatype": "INT8", "data": [rows] * rows}
    head = json.dumps({"id": ident, "inputs": [binary, plain]}).encode()
    return head + raw, len(head)


FORMS = {
    "tritonclient": _tritonclient(False),
    "tritonclient binary": _tritonclient(True),
    "requests": _dumped(),
    "id first": _dumped((",", ":"), id_first=True),
    "nested": _dumped((",", ":"), nested=True),
    "pydantic": _pydantic,
    "data first": _data_first,
    "binary": _binary,
    "half in binary": _half_in_binary,
}


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def form(request):
    return request.param


def test_several_clients_of_one_model_are_all_known(monkeypatch):
    reader = RequestReader()
    clients = [FORMS[name] for name in ("requests", "id first", "nested", "pydantic", "binary")]
    for make in clients:
        text, length = make("a", 1)
        reader.read(text, length, "m", "1")
    monkeypatch.setattr("serving.protocol.json.reader.read_request", lambda _: 1 / 0)
    for rows in (2, 3):
        for make in clients:
            text, length = make("bb", rows)
            assert said(reader.read(text, length, "m", "1")) == said(
                decode_request(text, length, "m", "1")
            )


def test_flat_lists_have_their_quick_form_whoever_came_first(monkeypatch):
    reader = RequestReader()
    for name in ("nested", "requests"):
        reader.read(FORMS[name]("a", 1)[0], None, "m", "1")
    monkeypatch.setattr("serving.protocol.json.reader.decode_data", lambda *_: 1 / 0)
    assert reader.read(FORMS["requests"]("b", 2)[0], None, "m", "1").id == "b"


def test_a_flood_of_new_forms_does_not_evict_who_comes_again(monkeypatch):
    reader = RequestReader()
    reader.read(FIRST, None, "m", "1")
    learned = []
    monkeypatch.setattr(reader, "_learn", counted(reader._learn, learned))
    for number in range(1000):
        reader.read(body([1.0, 2.0, 3.0], parameters={"p": number}), None, "m", "1")
        if number % 500 == 0:
            assert reader.read(SECOND, None, "m", "1")
    assert len(learned) < 300  # what nobody sends twice is not learned for ever
    monkeypatch.setattr("serving.protocol.json.reader.read_request", lambda _: 1 / 0)
    assert reader.read(SECOND, None, "m", "1")


def counted(what, calls):
    def call(*arguments):
        calls.append(arguments)
        return what(*arguments)

    return call


@pytest.mark.parametrize(
    ("known", "other"),
    [
        ('"shape":[1,3]', '"shape":[01,3]'),
        ('"shape":[1,3]', '"shape":[1,3.0]'),
        ('"shape":[1,3]', '"shape":[-1,-3]'),
        ('"shape":[1,3]', '"shape":[1, 3 ]'),
        ('"shape":[1,3]', '"shape":[1,3,0]'),
        ('"shape":[1,3]', '"shape":[3]'),
        ('"shape":[1,3]', '"shape":3'),
        ('"id":"a"', '"id":"a'),
        ('"id":"a"', '"id":"\\u0041\\n:"'),
        ('"id":"a"', '"id":"\\ud800"'),
        ('"id":"a"', '"id":"a\\","inputs":[]'),
        ('"id":"a"', '"id":"a\x01"'),
        ('"id":"a"', '"id":"\x7f:"'),
        ('"id":"a"', '"id":"a","id":"b"'),
        ('"id":"a"', '"id":7'),
        ('"id":"a"', '"id":null'),
        ('"id":"a"', '"id":""'),
        ('"id":"a"', '"id":' + '"%s"' % ("é" * 256)),
        ('"id":"a"', '"id":' + '"%s"' % ("é" * 257)),
        ('"name":"x"', '"name":"x:0"'),
        ('"name":"x"', '"name":""'),
        ('"name":"x"', '"name":"x","name":"x"'),
        ('"name":"x"', '"name":"x","unknown":1'),
        ('"name":"x"', '"name":"x:\\u003a","name":"x"'),
        ('"id":"a"', '"id":"\\u003a","id":"b"'),
        ('"name":"x"', '"name":"x","parameters":null'),
        ('"name":"x"', '"name":"x","parameters":{"priority":true}'),
        ('"name":"x"', '"name":"x","parameters":{"triton_x":1}'),
        ('"name":"x"', '"name":"x","parameters":{"a":"b:c"}'),
        ('"name":"x"', '"name":"x","parameters":{"a":1,"a":1}'),
        ('"id":"a"', '"id":"a","outputs":[{"name":"y"},{"name":"y"}]'),
        ('"id":"a"', '"id":"a","outputs":null,"parameters":null'),
        ("[1.5,2.5,3.5]", "[1.5,2.5,NaN]"),
        ("[1.5,2.5,3.5]", "[1.5,2.5,1e39]"),
        ("[1.5,2.5,3.5]", "[1.5,2.5,true]"),
        ("[1.5,2.5,3.5]", "[1.5,2.5]"),
        ("[1.5,2.5,3.5]", "[1.5,2.5,3.5],"),
        ("[1.5,2.5,3.5]", '[1.5,2.5,3.5],"parameters":{"binary_data_size":4}'),
    ],
)
def test_wrong_parts_are_refused_in_the_codec_s_words(known, other):
    tensor = '{"name":"x","shape":[1,3],"datatype":"FP32","data":[1.5,2.5,3.5]}'
    text = '{"inputs":[' + tensor + '],"id":"a"}'
    changed = text.replace(known, other)
    assert changed != text
    for before, sent in ((text, changed), (changed, text), (changed, changed)):
        reader = RequestReader()
        of(reader, before.encode("utf-8", "surrogatepass"))
        assert of(reader, sent.encode()) == of_codec(sent.encode())


def test_null_is_no_reason_to_look_for_keys_that_stand_twice(monkeypatch):
    """It is how clients with a model of the request write what they have no word for."""
    monkeypatch.setattr("serving.protocol.json.wire.refuse_duplicates", lambda *_: 1 / 0)
    tensor = {**_tensor(1, data=[1, 2, 3]), "parameters": None}
    text = orjson.dumps({"id": None, "parameters": None, "outputs": None, "inputs": [tensor]})
    assert decode_request(text, None, "m", "1", "header").id == "header"


def test_an_int_is_no_float():
    text = b'{"inputs":[{"name":"x","shape":[2],"datatype":"INT32","data":[1,2]}]}'
    for data in (b"[1.7,2]", b"[1.0,2]", b"[2147483648,2]", b"[1e2,2]", b"[true,2]", b"[null,2]"):
        reader = RequestReader()
        of(reader, text)
        wrong = text.replace(b"[1,2]", data)
        assert of(reader, wrong) == of_codec(wrong)
        assert of(reader, wrong)[0] is InvalidInput


@pytest.mark.parametrize(
    "size", [b"012", b"11", b"13", b"-12", b"12.0", b"9" * 30, b'"12"', b"null"]
)
@pytest.mark.parametrize("length", ["same", "one less"])
def test_wrong_sizes_of_binary_tensors(size, length):
    text, at = _half_in_binary("a", 1)
    reader = RequestReader()
    for _ in range(2):
        assert said(reader.read(text, at, "m", "1")) == said(decode_request(text, at, "m", "1"))
    wrong = text[:at].replace(b'_size": 12', b'_size": ' + size)
    at = len(wrong)
    wrong += text[-12:] if length == "same" else text[-11:]

    def by_codec(text):
        return decode_request(text, at, "m", "1", "id")

    assert outcome(lambda text: reader.read(text, at, "m", "1", "id"), wrong) == outcome(
        by_codec, wrong
    )
    # Nothing behind the JSON, and no word of its length.
    head = text[: text.index(b"}]}") + 3]
    assert outcome(lambda text: reader.read(text, None, "m", "1"), head) == outcome(
        lambda text: decode_request(text, None, "m", "1"), head
    )


def test_a_large_body_is_not_tried_in_every_form(monkeypatch):
    """What is wrong at its end would be read as often as there are forms, and nothing else done."""
    reader = RequestReader()
    flat, nested = _dumped(), _dumped(nested=True)
    for form in (flat, nested):
        reader.read(form("a", 1)[0], None, "m", "1")
    assert reader.read(nested("a", 1)[0], None, "m", "1").id == "a"  # it came last
    assert reader.read(flat("a", 1)[0], None, "m", "1").id == "a"
    large, _ = nested("a", 20_000)
    monkeypatch.setattr(reader, "_by_others", lambda *_: 1 / 0)
    assert of(reader, large) == of_codec(large)
    with pytest.raises(ZeroDivisionError):
        reader.read(nested("a", 1)[0], None, "m", "1")


def test_clients_cannot_fill_the_memory():
    reader = RequestReader()
    for number in range(1000):
        reader.read(FIRST, None, f"model-{number}", "")
        reader.read(FIRST, None, "n" * 600 + str(number), "")
        reader.read(body([1.0, 2.0, 3.0], parameters={"long": "x" * 2000}), None, "m", "1")
    assert reader._known.kept <= 512
    assert not any(len(name) > 600 for name, _ in reader._known)
