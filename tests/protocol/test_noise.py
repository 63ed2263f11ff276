"""Damaged bodies are read or refused, and never raise anything but our own errors."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import VigilError
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.json import codec as json_codec

PAYLOADS = Path(__file__).parents[1] / "testdata" / "tritonclient"
LENGTHS = json.loads((PAYLOADS / "json_lengths.json").read_text())


@given(st.binary(max_size=200), st.none() | st.integers(-1, 200))
@settings(max_examples=100, deadline=None)
def test_noise(body, length):
    with suppress(VigilError):
        json_codec.decode_request(body, length, "m", "")
    with suppress(VigilError):
        grpc_codec.decode_request(body)


@pytest.mark.parametrize("name", ["http_binary", "http_json", "grpc"])
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_good_bodies_with_damage(name, data):
    body = bytearray((PAYLOADS / f"{name}.bin").read_bytes())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(VigilError):
        if name == "grpc":
            grpc_codec.decode_request(bytes(body))
        else:
            json_codec.decode_request(bytes(body), LENGTHS[name], "m", "")
