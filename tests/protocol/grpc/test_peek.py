"""The model of a message that is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.protocol.grpc.peek import peek_model
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=127)


@given(names.filter(bool), names, st.text(max_size=9), st.binary(max_size=9))
def test_what_an_encoder_writes_is_found(name, version, ident, raw):
    message = ModelInferRequest(model_name=name, model_version=version, id=ident)
    message.raw_input_contents.append(raw)
    assert peek_model(message.SerializeToString()) == (name, version)
    assert peek_model(b"12345" + message.SerializeToString(), 5) == (name, version)


@given(st.binary(max_size=40), st.integers(0, 50))
def test_no_bytes_are_too_strange(message, at):
    found = peek_model(message, at)
    assert found is None or all(isinstance(text, str) for text in found)


@pytest.mark.parametrize("message", [
    b"", b"\x0a", b"\x0a\x05abc", b"\x0a\x00", b"\x0a\x80\x01" + b"a" * 128, b"\x12\x01a",
    b"\x0a\x01\xff",
])  # fmt: skip
def test_what_is_cut_long_or_in_another_order_must_be_read(message):
    assert peek_model(message) is None
