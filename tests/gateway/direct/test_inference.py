"""The quick path: which reader a body goes to, and which headers an answer has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from serving.errors import Forbidden, InvalidInput, NotFound
from serving.gateway.direct import inference
from serving.gateway.direct.known_heads import InferHead
from serving.protocol.messages import InferRequest, InferResponse, Tensor


def state_with(**parts):
    access = SimpleNamespace(decide=lambda *_: None)
    return SimpleNamespace(**{"access": access, **parts})


def head(json_length=None):
    return InferHead("m", "1", json_length, "q", False)


def test_who_may_not_ask_is_refused_before_the_body_is_read():
    state = state_with(access=SimpleNamespace(decide=lambda *_: Forbidden("no")))
    with pytest.raises(Forbidden):
        inference.begin(state, head("wrong"), b"", SimpleNamespace(principal=None))


@pytest.mark.parametrize(("given", "length"), [(None, None), ("2", 2)])
def test_a_body_is_read_as_far_as_it_is_json(given, length):
    reader = SimpleNamespace(read=lambda *asked: asked)
    plane = SimpleNamespace(begin=lambda request, _context: request)
    state = state_with(json_requests=reader, plane=plane)
    read = inference.begin(state, head(given), b"{}xx", SimpleNamespace(principal=None))
    assert read == (b"{}xx", length, "m", "1", "q")


@pytest.mark.parametrize("given", ["-1", "5", "x", ""])
def test_a_wrong_length_of_json_is_refused(given):
    with pytest.raises(InvalidInput):
        inference.begin(state_with(), head(given), b"{}xx", SimpleNamespace(principal=None))


@pytest.mark.parametrize(
    ("given", "skip"),
    [(None, 0), ("", 0), ("12", 12), ("-1", 0), ("\u0663", 0), ("9" * 12, 10**9 - 1)],
)  # fmt: skip
def test_memory_for_a_long_body_lies_behind_its_json(given, skip):
    dispatcher = SimpleNamespace(receive_buffer=lambda *asked: asked)
    entry = SimpleNamespace(batcher=SimpleNamespace(dispatcher=dispatcher))
    state = state_with(plane=SimpleNamespace(served_version=lambda *_: entry))
    assert inference.receive_buffer(state, head(given), 99) == (99, skip)


def test_there_is_none_for_a_model_that_is_not_there():
    def served_version(*_):
        raise NotFound("no")

    state = state_with(plane=SimpleNamespace(served_version=served_version))
    assert inference.receive_buffer(state, head(), 99) is None


@pytest.mark.parametrize(
    ("ident", "line"),
    [("q", b"x-request-id: q\r\n"), ("a\r\nb: c", b""), ("\u00fc", b""), ("a\x7f", b"")],
)
def test_an_id_that_could_end_its_header_is_left_out(ident, line):
    request = InferRequest("m", "", ident, ())
    output = Tensor("y", "FP32", (1,), np.ones(1, np.float32))
    endpoint = SimpleNamespace(finish=lambda _: InferResponse("m", "1", ident, (output,)))
    ticket = SimpleNamespace(request=request, endpoint=endpoint)
    headers, _, binary = inference.answer(state_with(), ticket)
    assert (headers, binary) == (inference.JSON + line, ())
