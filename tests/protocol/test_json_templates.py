"""Requests that are recognised as bytes give what the codec gives."""

from __future__ import annotations

import random

import numpy as np
import orjson
import pytest

from serving.errors import VigilError
from serving.protocol.json_codec import decode_request
from serving.protocol.json_templates import RequestReader


def body(data, shape=(1, 3), datatype="FP32", **more):
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return orjson.dumps({"inputs": [tensor], **more})


def outcome(read, text):
    """Return all that a request or its error says."""
    try:
        request = read(text)
    except VigilError as error:
        return type(error), error.message
    inputs = [
        (t.name, t.datatype, t.shape, t.data.dtype, t.data.shape, t.data.tobytes(), t.parameters)
        for t in request.inputs
    ]
    return request.model_name, request.model_version, inputs, request.outputs, request.parameters


def of_codec(text):
    return outcome(lambda text: decode_request(text, None, "m", "1", "id"), text)


def of(reader, text):
    return outcome(lambda text: reader.read(text, "m", "1", "id"), text)


FIRST = body([1.5, 2.5, 3.5], outputs=[{"name": "y"}], parameters={"priority": 2})
SECOND = body([-1.5, 1e-3, 3], outputs=[{"name": "y"}], parameters={"priority": 2})


def test_other_numbers_in_the_same_words_are_recognised(monkeypatch):
    reader = RequestReader()
    assert of(reader, FIRST) == of_codec(FIRST)
    want = of_codec(SECOND)
    monkeypatch.setattr("serving.protocol.json_templates.read_request", lambda _: 1 / 0)
    assert of(reader, SECOND) == want
    assert reader.read(SECOND, "m", "1", "mine").id == "mine"
    assert reader.read(SECOND, "m", "1").id != reader.read(SECOND, "m", "1").id
    with pytest.raises(ZeroDivisionError):  # another model's words are not known
        reader.read(SECOND, "n", "1")


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
    reader.read(FIRST, "m", "1")
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
        assert reader.read(text, "m", "1", "header").id == "7"


def test_clients_cannot_fill_the_memory():
    reader = RequestReader()
    for number in range(1000):
        reader.read(FIRST, f"model-{number}", "")
        reader.read(body([1.0, 2.0, 3.0], parameters={"long": "x" * 2000}), "m", "1")
    assert len(reader._known) <= 256
    assert ("m", "1") not in reader._known
