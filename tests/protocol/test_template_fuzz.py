"""Whatever bytes come: read by their likeness to those before, they say what parsing says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import VigilError
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc import reader as grpc_reader
from serving.protocol.json import codec as json_codec
from serving.protocol.json import reader as json_reader
from serving.protocol.messages import InferRequest
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

Change = tuple[float, float, bytes]
"""Where, as a share of the message; how much goes, as a share of what follows; what comes."""


def said(request: InferRequest) -> tuple[Any, ...]:
    """All that a request says; an id that we made is left out."""
    tensors = [
        (t.name, t.datatype, t.shape, t.data.dtype, t.data.shape, t.data.tolist(), t.parameters)
        for t in request.inputs
    ]
    ident = None if len(request.id) == 36 else request.id
    named = (request.model_name, request.model_version, ident)
    return (*named, repr(tensors), request.outputs, request.parameters)


def outcome(read: Any, content: bytes) -> tuple[Any, ...]:
    """What a request says, or its refusal."""
    try:
        return said(read(content))
    except VigilError as error:
        return type(error), error.message


def changed(content: bytes, changes: list[Change]) -> bytes:
    for place, share, piece in changes:
        at = int(place * len(content))
        gone = int(share**8 * (len(content) - at))  # mostly a little
        content = content[:at] + piece + content[at + gone :]
    return content


shares = st.floats(0, 1, exclude_max=True)


def changes(pieces: list[bytes]) -> st.SearchStrategy[list[Change]]:
    piece = st.one_of(st.sampled_from(pieces), st.binary(max_size=3))
    return st.lists(st.tuples(shares, shares, piece), max_size=3)


def body(data: Any, **more: Any) -> bytes:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data}
    return orjson.dumps({"inputs": [tensor], **more})


BODIES = [
    body([1.5, 2, -3e-7, 4]),
    body([[1.5, 2], [3, 4]]),
    body([1, 2, 3, 4], id="mine"),
    body([1, 2, 3, 4], parameters={"priority": 1}, outputs=[{"name": "y"}]),
    body([1, 2, 3, 4]).replace(b'"FP32"', b'"INT8"'),
    body([True, False, True, True]).replace(b'"FP32"', b'"BOOL"'),
    body(["a", "b:", "]}]}", '"data":[']).replace(b'"FP32"', b'"BYTES"'),
    b'{"inputs":[{"data":[1,2,3,4],"name":"x","datatype":"BF16","shape":[2,2]}],"id":""}',
]
JSON_PIECES = [
    b"", b",", b"[", b"]", b"{", b"}", b":", b'"', b" ", b"\\", b"]}]}", b"null", b"NaN",
    b"1e39", b"-",
    b',"data":[1,2,3,4]', b',"id":"7"', b"],[", b"[1,2,3,4]", b'"data":', b'"name":"y",',
    b'"shape":[4],',
    b',{"name":"x","shape":[1],"datatype":"FP32","data":[1]}',
]  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(BODIES), changes(JSON_PIECES)), min_size=2, max_size=6))
def test_json_bodies(bodies: list[tuple[bytes, list[Change]]]) -> None:
    reader = json_reader.RequestReader()
    for number, (first, some) in enumerate(bodies):
        text = changed(first, some)
        for version in ("", str(number % 2)):  # each has its own memory
            by_likeness = outcome(lambda text: reader.read(text, None, "m", version), text)  # noqa: B023
            by_parsing = outcome(
                lambda text: json_codec.decode_request(text, None, "m", version),  # noqa: B023
                text,
            )
            assert by_likeness == by_parsing, text


Form = tuple[list[str], str, bool, tuple[int, int], bool]
"""Datatypes of the inputs, order of the keys, nested or not, blanks, whether in binary."""

forms = st.tuples(
    st.lists(st.sampled_from(["FP32", "INT8", "BYTES", "BOOL", "FP64"]), min_size=1, max_size=3),
    st.permutations("iodp").map("".join),
    st.booleans(),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.booleans(),
)
idents = st.one_of(
    st.sampled_from([None, "", "a", "b:1", "é" * 256]),
    st.sampled_from([None, "", "a", "b:1", "é" * 256]),
    st.text(':\\",[]{}\x00\x7f\ud800é', max_size=4),
    st.sampled_from(["x" * 257, '","inputs":[', '"}']),
)
numbers = st.one_of(
    st.integers(-3, 300), st.booleans(), st.none(), st.text(":]é", max_size=2),
    st.floats(allow_nan=False), st.sampled_from([1e39, 1e400, 2**70]),
)  # fmt: skip
fillings = st.tuples(
    idents, st.integers(0, 3), st.integers(1, 2), st.one_of(st.just(7), st.just(7), numbers)
)


def usual(datatype: str, count: int, odd: Any) -> list[Any]:
    """Values of a datatype, and here and there one that may be of another."""
    made: list[Any] = {"BYTES": ["a:", "é"], "BOOL": [True, False]}.get(datatype, [7, 1])
    made = [made[at % 2] for at in range(count)]
    if count and odd != 7:
        made[-1] = odd
    return made


def filled(form: Form, filling: tuple[str | None, int, int, Any]) -> tuple[bytes, int | None]:
    """A body of a form, and the length of its JSON part if something follows it."""
    datatypes, order, nested, (one, two), in_binary = form
    ident, height, width, odd = filling
    tensors, tail = [], b""
    for number, datatype in enumerate(datatypes):
        data: Any = usual(datatype, height * width, odd)
        tensor = {"name": f"x{number}", "shape": [height, width], "datatype": datatype}
        if in_binary and datatype == "FP32":
            raw = np.arange(height * width, dtype="<f4").tobytes()
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            tensor["data"] = (
                [data[at * width : (at + 1) * width] for at in range(height)] if nested else data
            )
        tensors.append(tensor if one else dict(reversed(tensor.items())))
    parts = {
        "i": {"inputs": tensors},
        "o": {"outputs": [{"name": "y"}]},
        "d": {} if ident is None else {"id": ident},
        "p": {"parameters": {"p": 1}},
    }
    request = {key: value for name in order for key, value in parts[name].items()}
    separators = (", ", ": ") if two else (",", ":")
    text = json.dumps(request, separators=separators, ensure_ascii=bool(one))
    head = text.encode("utf-8", "surrogatepass")
    return head + tail, len(head) if tail else None


@settings(max_examples=200)
@given(
    st.lists(forms, min_size=1, max_size=2),
    st.lists(
        st.tuples(fillings, st.integers(0, 1), changes(JSON_PIECES), st.integers(0, 3)),
        min_size=4, max_size=10,
    ),
)  # fmt: skip
def test_json_of_a_few_forms(
    some: list[Form],
    requests: list[tuple[tuple[str | None, int, int, Any], int, list[Change], int]],
) -> None:
    reader = json_reader.RequestReader()
    for filling, which, changes, alter in requests:
        body, length = filled(some[which % len(some)], filling)
        if not alter:
            body = changed(body, changes)
            length = length if length is None else min(length, len(body))
        by_likeness = outcome(lambda body: reader.read(body, length, "m", ""), body)  # noqa: B023
        by_parsing = outcome(
            lambda body: json_codec.decode_request(body, length, "m", ""),  # noqa: B023
            body,
        )
        assert by_likeness == by_parsing, body


def message(datatype: str, shape: list[int], raw: bytes, **more: Any) -> ModelInferRequest:
    made = ModelInferRequest(model_name="m", **more)
    made.inputs.add(name="x", datatype=datatype, shape=shape)
    made.raw_input_contents.append(raw)
    return made


def messages() -> list[bytes]:
    numbers = np.arange(4, dtype="<f4").tobytes()
    typed = message("FP32", [2, 2], b"")
    del typed.raw_input_contents[:]
    typed.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    several = message("FP32", [2, 2], numbers)
    several.inputs.add(name="z", datatype="INT8", shape=[1])
    several.raw_input_contents.append(b"\x07")
    asked = message("FP32", [2, 2], numbers, id="a", model_version="1")
    asked.outputs.add(name="y")
    asked.parameters["priority"].int64_param = 1
    wants_typed = message("FP32", [2, 2], numbers)
    wants_typed.outputs.add(name="y").parameters["binary_data"].bool_param = False
    made = [
        message("FP32", [2, 2], numbers),
        message("FP32", [4], numbers, id="b"),
        message("BOOL", [2], b"\0\1"),
        message("BYTES", [1], b"\2\0\0\0hi"),
        message("BF16", [2, 4], numbers),
        message("FP32", [0], b""),
        asked, wants_typed, several, typed, ModelInferRequest(),
    ]  # fmt: skip
    return [each.SerializeToString() for each in made]


GRPC_PIECES = [
    b"", b"\x3a\x10", b"\x3a\x00", b"\x3a", b"\x0a\x01n", b"\x1a\x01c", b"\x2a\x00", b"\xff",
    b"\x00", b"\x32\x03\x0a\x01z", b"\xfa\x7f\x02\x3a\x10",
]  # fmt: skip


def with_id(payload: bytes, ident: str) -> bytes:
    """Return a valid message with another id, as a client writes it."""
    made = ModelInferRequest.FromString(payload)
    made.id = ident
    return made.SerializeToString()


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(messages()),
            st.sampled_from(["", "a", "bb", "é" * 64, "x" * 257]),
            changes(GRPC_PIECES),
            st.integers(0, 2),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_grpc_messages(payloads: list[tuple[bytes, str, list[Change], int]]) -> None:
    reader = grpc_reader.RequestReader()
    for first, ident, some, alter in payloads:
        payload = with_id(first, ident)
        if not alter:
            payload = changed(payload, some)
        # The second of two alike is read without being parsed.
        for content in (payload, payload):
            assert outcome(reader.read, content) == outcome(grpc_codec.decode_request, content)
