"""What gRPC puts around messages: prefixes, encodings, call options, statuses."""

from __future__ import annotations

import gzip
import random

import pytest

from serving.errors import InvalidInput, PayloadTooLarge
from serving.gateway.body_budget import BodyBudget, Share
from serving.gateway.grpc.frames import (
    MOST_TEXT,
    Disconnected,
    answer_headers,
    call_options,
    check_unary,
    frame,
    packed_frame,
    plain_message,
    read_message,
    read_messages,
    status_trailers,
)
from serving.gateway.http.compression import WORTH_IT
from serving.protocol.pb import open_inference_pb2 as pb

LIMIT = 100
PACKED = gzip.compress(b"abc")


@pytest.fixture
def share():
    return Share(BodyBudget(10_000, LIMIT), counted=False)


def receiving(*pieces):
    left = list(pieces)

    async def receive():
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    return receive


def marked(flag, payload):
    return bytes((flag,)) + frame(payload)[1:]


@pytest.mark.parametrize("payload", [b"", b"x", bytes(LIMIT)], ids=["empty", "one", "longest"])
def test_a_plain_message_is_what_was_framed(payload):
    assert plain_message(frame(payload), LIMIT) == payload


def inferred(size=WORTH_IT, datatype="BYTES", content=b"x"):
    """An answer with that much of raw contents."""
    message = pb.ModelInferResponse(model_name="m", raw_output_contents=[content * size])
    message.outputs.add(name="y", datatype=datatype, shape=[size // 4])
    return message


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_packed_where_it_pays(encoding, stream, share):
    message = inferred()
    if stream:
        message = pb.ModelStreamInferResponse(infer_response=message)
    packed = await packed_frame(message, encoding)
    assert packed[0] == 1
    assert len(packed) < WORTH_IT
    read = await read_message(2 * WORTH_IT, encoding, receiving(packed), share)
    assert read == message.SerializeToString()


@pytest.mark.parametrize(
    ("message", "encoding"),
    [
        (inferred(), ""),
        (inferred(WORTH_IT // 2), "gzip"),
        (inferred(datatype="FP32"), "gzip"),
        (pb.ModelMetadataResponse(name="x" * WORTH_IT), "gzip"),
    ],
    ids=["no encoding", "short", "floats", "another message"],
)
async def test_an_answer_is_left_as_it_is_where_it_does_not(message, encoding):
    assert await packed_frame(message, encoding) == frame(message.SerializeToString())


async def test_an_answer_that_would_grow_is_left_as_it_is():
    noise = random.Random(1).randbytes(2 * WORTH_IT)
    message = pb.ModelInferResponse(raw_output_contents=[noise])
    assert await packed_frame(message, "gzip") == frame(message.SerializeToString())


@pytest.mark.parametrize("read", [plain_message, check_unary])
@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        (b"", InvalidInput, "no message"),
        (bytes(4), InvalidInput, "no message"),
        (frame(b"ab")[:-1], InvalidInput, "exactly one"),
        (frame(b"a") * 2, InvalidInput, "exactly one"),
        (frame(bytes(LIMIT + 1)), PayloadTooLarge, f"limit of {LIMIT} bytes"),
        (b"\0\xff\xff\xff\xff", PayloadTooLarge, f"limit of {LIMIT} bytes"),
    ],
)
def test_a_unary_body_is_exactly_one_message(read, body, error, told):
    with pytest.raises(error, match=told):
        read(body, LIMIT)


@pytest.mark.parametrize("flag", [1, 2, 255])
@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_a_mark_needs_an_encoding(flag, encoding, share):
    body = marked(flag, b"abc")
    with pytest.raises(InvalidInput, match="without grpc-encoding"):
        plain_message(body, LIMIT)
    with pytest.raises(InvalidInput, match="without grpc-encoding"):
        await read_message(LIMIT, encoding, receiving(body), share)


@pytest.mark.parametrize("cut", [0, 3, 5, 9])
@pytest.mark.parametrize("body", [frame(b"abc" * 9), marked(1, PACKED)], ids=["plain", "packed"])
async def test_one_message_in_pieces(body, cut, share):
    read = await read_message(LIMIT, "gzip", receiving(body[:cut], body[cut:]), share)
    assert read in (b"abc", b"abc" * 9)


async def test_the_messages_of_a_stream_come_each_when_whole_and_charge_their_length(share):
    body = frame(b"") + frame(b"ab") + marked(1, PACKED)
    pieces = [body[at : at + 1] for at in range(len(body))]
    found = []
    async for payload in read_messages(LIMIT, "gzip", receiving(*pieces), share):
        found.append(payload)
        assert share.charged == len(payload)
        share.give_back(len(payload))
    assert found == [b"", b"ab", b"abc"]


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([frame(b"ab")[:-1]], InvalidInput),
        ([frame(bytes(LIMIT + 1))[:5], b""], PayloadTooLarge),
        ([frame(b"ab")[:-1], None], Disconnected),
    ],
)
async def test_a_stream_that_ends_within_a_message(pieces, error, share):
    with pytest.raises(error):
        async for _ in read_messages(LIMIT, "", receiving(*pieces), share):
            pass


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ({}, (None, "")),
        ({b"grpc-timeout": b"2S", b"grpc-encoding": b"gzip"}, (2.0, "gzip")),
        ({b"grpc-timeout": b"0S", b"grpc-encoding": b"\xff"}, (0.0, "\xff")),
    ],
)
def test_options(headers, options):
    assert call_options(headers) == options


def test_a_deadline_that_is_none_is_refused():
    with pytest.raises(InvalidInput):
        call_options({b"grpc-timeout": b"soon"})


@pytest.mark.parametrize(
    ("given", "accepted", "encoding"),
    [
        (b"", b"gzip", ""),
        (b"gzip", b"", "gzip"),
        (b"gzip", b"identity, gzip", "gzip"),
        (b"gzip", b"identity", ""),
        (b"snappy", b"snappy", ""),
        (b"identity", b"", ""),
    ],
)
def test_who_compresses_gets_the_same_back(given, accepted, encoding):
    headers, used = answer_headers({b"grpc-encoding": given, b"grpc-accept-encoding": accepted})
    told = dict(headers)
    assert used == encoding == told.get(b"grpc-encoding", b"").decode()
    assert (b"grpc-accept-encoding" in told) == bool(given)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a%b\n", b"a%25b"),
        (" \u00fc ", b"%C3%BC"),
        ("\ud800", b"?"),
        ("x" * (MOST_TEXT + 1), b"x" * MOST_TEXT),
        ("a\r\nb", b"a%0D%0Ab"),
    ],
)
def test_a_status_says_any_text_in_one_line(text, told):
    assert status_trailers(3, text) == [(b"grpc-status", b"3"), (b"grpc-message", told)]
