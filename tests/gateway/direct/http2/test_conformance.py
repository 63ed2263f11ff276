"""RFC 9113 over raw frames: what a client breaks, and which error of which scope it gets for it.

Each row names the section, the state of stream 1, what is sent, and what must come. States:

- idle: no stream was opened;
- open: stream 1 has headers, and its body has not ended;
- held: its request is whole and not answered yet, "half-closed (remote)";
- answered: its answer has ended as well;
- given up: the client has reset it;
- turned away: the gateway has reset it, and the client has not ended its side.

Every row is run for a gRPC call, which the gateway answers itself, and for a stream of the app.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from hpack import Encoder

from serving.gateway.direct.http2 import requests
from serving.gateway.direct.http2.connection import MAX_FRAME
from serving.http2 import frames as f

PING = b"conforms"
JSON = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
PATHS = {"call": "/inference.GRPCInferenceService/ModelInfer", "app": "/v2/models/m/infer"}
TYPES = {"call": "application/grpc", "app": "application/json"}


class Closed(NamedTuple):
    """The connection ends with GOAWAY and this code."""

    code: int


class Reset(NamedTuple):
    """Stream 1 is reset with this code, and the connection goes on."""

    code: int


class GoesOn(NamedTuple):
    """Nothing is wrong, or it is to be ignored."""


GOES_ON = GoesOn()


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return f.frame(kind, flags, stream, payload)


def setting(key: int, value: int) -> bytes:
    return f.settings({key: value})


def head(stream: int = 1, *, end: bool = False, flags: int = f.END_HEADERS) -> bytes:
    """HEADERS of an ordinary request over h2; of the app, whatever the stream of the row is."""
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "v"), (":path", "/v2")]
    block = Encoder().encode(fields)
    return f.frame(f.HEADERS, flags | (f.END_STREAM if end else 0), stream, block)


FIELD = f.literal(b"a", b"b")
P, S, Z, W = f.PROTOCOL_ERROR, f.STREAM_CLOSED, f.FRAME_SIZE_ERROR, f.FLOW_CONTROL_ERROR
MOST = f.LARGEST_WINDOW

TABLE = [
    # -- frames
    ("4.1", "a frame of an unknown type", "idle", frame(77, b"x", stream=9), GOES_ON),
    ("4.1", "flags that mean nothing", "idle", frame(f.PING, bytes(8), flags=0xFE), GOES_ON),
    ("4.1", "the reserved bit", "idle", frame(f.PING, bytes(8), stream=1 << 31), GOES_ON),
    ("4.2", "DATA over the limit", "open", frame(f.DATA, bytes(MAX_FRAME + 1), stream=1),
     Closed(Z)),
    ("4.2", "an unknown frame over the limit", "idle", frame(77, bytes(MAX_FRAME + 1)), Closed(Z)),
    ("4.3", "a header block that is no HPACK", "idle",
     frame(f.HEADERS, b"\xff\xff\xff", flags=f.END_HEADERS, stream=1), Closed(f.COMPRESSION_ERROR)),
    # -- the states of streams
    ("5.1", "DATA", "idle", frame(f.DATA, b"x", stream=1), Closed(P)),
    ("5.1", "DATA", "held", frame(f.DATA, b"x", stream=1), Reset(S)),
    ("5.1", "DATA", "answered", frame(f.DATA, b"x", stream=1), Closed(S)),
    ("5.1", "DATA", "given up", frame(f.DATA, b"x", stream=1), Closed(S)),
    ("5.1", "DATA", "turned away", frame(f.DATA, b"x", stream=1), GOES_ON),
    ("5.1", "DATA after the end", "turned away",
     2 * frame(f.DATA, b"x", flags=f.END_STREAM, stream=1), Closed(S)),
    ("5.1", "HEADERS", "held", frame(f.HEADERS, FIELD, flags=5, stream=1), Reset(S)),
    ("5.1", "HEADERS", "answered", frame(f.HEADERS, FIELD, flags=5, stream=1), Closed(S)),
    ("5.1", "HEADERS", "given up", frame(f.HEADERS, FIELD, flags=5, stream=1), Closed(S)),
    ("5.1", "HEADERS", "turned away", frame(f.HEADERS, FIELD, flags=5, stream=1), GOES_ON),
    ("5.1", "RST_STREAM", "idle", f.reset(1, f.CANCEL), Closed(P)),
    ("5.1", "RST_STREAM", "held", f.reset(1, f.CANCEL), GOES_ON),
    ("5.1", "RST_STREAM", "answered", f.reset(1, f.CANCEL), GOES_ON),
    ("5.1", "RST_STREAM", "turned away", f.reset(1, f.CANCEL), GOES_ON),
    ("5.1", "WINDOW_UPDATE", "idle", f.window_update(1, 1), Closed(P)),
    ("5.1", "WINDOW_UPDATE", "held", f.window_update(1, 1), GOES_ON),
    ("5.1", "WINDOW_UPDATE", "answered", f.window_update(1, 1), GOES_ON),
    ("5.1", "PRIORITY", "idle", frame(f.PRIORITY, bytes(5), stream=1), GOES_ON),
    ("5.1", "PRIORITY", "answered", frame(f.PRIORITY, bytes(5), stream=1), GOES_ON),
    ("5.1", "CONTINUATION", "answered", frame(f.CONTINUATION, b"", flags=4, stream=1), Closed(P)),
    ("5.1.1", "HEADERS on an even stream", "idle", head(2), Closed(P)),
    ("5.1.1", "HEADERS on stream 0", "idle", head(0), Closed(P)),
    ("5.1.1", "DATA on an even stream", "answered", frame(f.DATA, b"x", stream=2), Closed(P)),
    ("5.1.1", "RST_STREAM on an even stream", "answered", f.reset(2, 0), Closed(P)),
    ("5.1.1", "WINDOW_UPDATE on an even stream", "answered", f.window_update(2, 1), Closed(P)),
    ("5.1.1", "streams whose numbers increase, with gaps", "open",
     head(7, end=True) + head(99, end=True), GOES_ON),
    ("5.1.1", "a stream below the last", "open", head(9, end=True) + head(5, end=True), Closed(P)),
    ("5.1.1", "a stream below the first", "idle", head(9, end=True) + head(1, end=True), Closed(P)),
    ("5.5", "an unknown frame within a header block", "idle",
     head(1, flags=0) + frame(77, b"x", stream=1), Closed(P)),
    # -- DATA
    ("6.1", "DATA on stream 0", "open", frame(f.DATA, b"x"), Closed(P)),
    ("6.1", "padding as long as the frame", "open",
     frame(f.DATA, b"\x02ab"[:2], flags=f.PADDED, stream=1), Closed(P)),
    ("6.1", "padding longer than the frame", "open",
     frame(f.DATA, b"\xffab", flags=f.PADDED, stream=1), Closed(P)),
    ("6.1", "PADDED without the length of it", "open",
     frame(f.DATA, b"", flags=f.PADDED, stream=1), Closed(Z)),
    ("6.1", "padding and nothing else", "open",
     frame(f.DATA, b"\x02ab", flags=f.PADDED, stream=1), GOES_ON),
    # -- HEADERS
    ("6.2", "padding longer than the block", "idle",
     frame(f.HEADERS, b"\x09a", flags=f.END_HEADERS | f.PADDED, stream=1), Closed(P)),
    ("6.2", "padding over the priority", "idle",
     frame(f.HEADERS, b"\x03" + bytes(7), flags=f.END_HEADERS | f.PADDED | 0x20, stream=1),
     Closed(P)),
    ("6.2", "PADDED without the length of it", "idle",
     frame(f.HEADERS, b"", flags=f.END_HEADERS | f.PADDED, stream=1), Closed(Z)),
    ("6.2", "too short for its priority", "idle",
     frame(f.HEADERS, bytes(4), flags=f.END_HEADERS | f.WITH_PRIORITY, stream=1), Closed(Z)),
    ("6.2", "another frame within a header block", "idle",
     head(1, flags=0) + frame(f.PING, bytes(8)), Closed(P)),
    ("6.2", "other HEADERS within a header block", "idle", head(1, flags=0) + head(3), Closed(P)),
    # -- PRIORITY
    ("6.3", "on stream 0", "open", frame(f.PRIORITY, bytes(5)), Closed(P)),
    ("6.3", "too short", "open", frame(f.PRIORITY, bytes(4), stream=1), Reset(Z)),
    ("6.3", "too long", "held", frame(f.PRIORITY, bytes(6), stream=1), Reset(Z)),
    ("6.3", "too short on an idle stream, which must not be reset (6.4)", "idle",
     frame(f.PRIORITY, bytes(4), stream=1), Closed(Z)),
    ("6.3", "too short on stream 0", "open", frame(f.PRIORITY, bytes(4)), Closed(P)),
    # -- RST_STREAM
    ("6.4", "on stream 0", "open", f.reset(0, f.CANCEL), Closed(P)),
    ("6.4", "too short", "open", frame(f.RST_STREAM, bytes(3), stream=1), Closed(Z)),
    ("6.4", "too long", "open", frame(f.RST_STREAM, bytes(5), stream=1), Closed(Z)),
    ("6.4", "too short on an answered stream", "answered",
     frame(f.RST_STREAM, bytes(3), stream=1), Closed(Z)),
    # -- SETTINGS
    ("6.5", "on a stream", "open", frame(f.SETTINGS, b"", stream=1), Closed(P)),
    ("6.5", "on an idle stream", "idle", frame(f.SETTINGS, b"", stream=1), Closed(P)),
    ("6.5", "no multiple of six bytes", "open", frame(f.SETTINGS, bytes(5)), Closed(Z)),
    ("6.5", "an acknowledgement with a payload", "open",
     frame(f.SETTINGS, bytes(6), flags=f.ACK), Closed(Z)),
    ("6.5", "an acknowledgement on a stream", "open",
     frame(f.SETTINGS, b"", flags=f.ACK, stream=1), Closed(P)),
    ("6.5.2", "ENABLE_PUSH=2", "idle", setting(f.ENABLE_PUSH, 2), Closed(P)),
    ("8441:3", "CONNECT_PROTOCOL=2", "idle", setting(f.ENABLE_CONNECT_PROTOCOL, 2), Closed(P)),
    ("6.5.2", "ENABLE_PUSH=0", "idle", setting(f.ENABLE_PUSH, 0), GOES_ON),
    ("6.5.2", "ENABLE_PUSH=1", "idle", setting(f.ENABLE_PUSH, 1), GOES_ON),
    ("6.5.2", "INITIAL_WINDOW_SIZE=2^31", "idle", setting(f.INITIAL_WINDOW_SIZE, 1 << 31),
     Closed(W)),
    ("6.5.2", "INITIAL_WINDOW_SIZE=2^31-1", "idle", setting(f.INITIAL_WINDOW_SIZE, MOST), GOES_ON),
    ("6.5.2", "MAX_FRAME_SIZE=16383", "idle", setting(f.MAX_FRAME_SIZE, (1 << 14) - 1), Closed(P)),
    ("6.5.2", "MAX_FRAME_SIZE=16384", "idle", setting(f.MAX_FRAME_SIZE, 1 << 14), GOES_ON),
    ("6.5.2", "MAX_FRAME_SIZE=2^24-1", "idle", setting(f.MAX_FRAME_SIZE, (1 << 24) - 1), GOES_ON),
    ("6.5.2", "MAX_FRAME_SIZE=2^24", "idle", setting(f.MAX_FRAME_SIZE, 1 << 24), Closed(P)),
    ("6.5.2", "an unknown setting", "idle", setting(0xFACE, 7), GOES_ON),
    ("6.5.2", "the last of several is wrong", "idle",
     f.settings({f.HEADER_TABLE_SIZE: 0, 0xFACE: 1, f.ENABLE_PUSH: 3}), Closed(P)),
    # -- PUSH_PROMISE, PING, GOAWAY
    ("6.6", "PUSH_PROMISE from a client", "open",
     frame(f.PUSH_PROMISE, bytes(4), flags=f.END_HEADERS, stream=1), Closed(P)),
    ("6.7", "PING on a stream", "open", frame(f.PING, bytes(8), stream=1), Closed(P)),
    ("6.7", "a short PING", "idle", frame(f.PING, bytes(7)), Closed(Z)),
    ("6.7", "a long PING", "idle", frame(f.PING, bytes(9)), Closed(Z)),
    ("6.7", "an acknowledgement of no PING", "idle", frame(f.PING, bytes(8), flags=f.ACK), GOES_ON),
    ("6.8", "GOAWAY on a stream", "open", frame(f.GOAWAY, bytes(8), stream=1), Closed(P)),
    ("6.8", "a short GOAWAY", "idle", frame(f.GOAWAY, bytes(7)), Closed(Z)),
    ("6.8", "GOAWAY, and streams that go on", "held", f.goaway(0, 0, "bye"), GOES_ON),
    # -- WINDOW_UPDATE
    ("6.9", "by nothing on a stream", "held", f.window_update(1, 0), Reset(P)),
    ("6.9", "by nothing on the connection", "open", f.window_update(0, 0), Closed(P)),
    ("6.9", "by nothing on an idle stream", "idle", f.window_update(1, 0), Closed(P)),
    ("6.9", "too short", "open", frame(f.WINDOW_UPDATE, bytes(3), stream=1), Closed(Z)),
    ("6.9", "too long", "open", frame(f.WINDOW_UPDATE, bytes(5)), Closed(Z)),
    ("6.9", "the reserved bit", "open", frame(f.WINDOW_UPDATE, b"\x80\0\0\1", stream=1), GOES_ON),
    ("6.9.1", "a stream's window over the limit", "held", f.window_update(1, MOST), Reset(W)),
    ("6.9.1", "the connection's window over the limit", "open", f.window_update(0, MOST),
     Closed(W)),
    ("6.9.2", "a stream's window over the limit by SETTINGS", "held",
     f.window_update(1, 1 << 30) + setting(f.INITIAL_WINDOW_SIZE, MOST), Closed(W)),
    # -- CONTINUATION
    ("6.10", "after nothing", "idle", frame(f.CONTINUATION, b"", flags=4, stream=1), Closed(P)),
    ("6.10", "after a whole block", "open", frame(f.CONTINUATION, b"", flags=4, stream=1),
     Closed(P)),
    ("6.10", "of another stream", "idle",
     head(1, flags=0) + frame(f.CONTINUATION, b"", flags=4, stream=3), Closed(P)),
    ("6.10", "on stream 0", "idle", head(1, flags=0) + frame(f.CONTINUATION, b"", flags=4),
     Closed(P)),
    # -- requests
    ("8.1", "trailers that do not end their stream", "open",
     frame(f.HEADERS, FIELD, flags=f.END_HEADERS, stream=1), Reset(P)),
    ("8.1", "trailers that end it", "open", frame(f.HEADERS, FIELD, flags=5, stream=1), GOES_ON),
]  # fmt: skip


@pytest.fixture(params=["call", "app"])
def kind(request):
    return request.param


class Wire:
    """A raw connection in one of the states of the table."""

    def __init__(self, client, kind, message):
        self.client, self.kind = client, kind
        self.body = JSON
        if kind == "call":
            self.body = b"\0" + len(message).to_bytes(4, "big") + message
        self.rest = b""

    def head(self, *extra, end=False):
        block = Encoder().encode([
            (":method", "POST"), (":scheme", "http"), (":authority", "v"),
            (":path", PATHS[self.kind]), ("content-type", TYPES[self.kind]), *extra,
        ])  # fmt: skip
        return frame(f.HEADERS, block, flags=f.END_HEADERS | (f.END_STREAM if end else 0), stream=1)

    async def reach(self, state):
        start = f.PREFACE + f.settings({})
        whole = self.head() + frame(f.DATA, self.body, flags=f.END_STREAM, stream=1)
        await self.client.send(start + {
            "idle": b"",
            "open": self.head(),
            "held": whole,
            "answered": whole,
            "given up": self.head() + f.reset(1, f.CANCEL),
            "turned away": self.head(("connection", "close")),
        }[state])  # fmt: skip
        if state == "answered":
            await self.until(lambda kind, flags, ident, _: ident == 1 and flags & f.END_STREAM)
        elif state == "turned away":
            await self.until(lambda kind, flags, ident, _: (kind, ident) == (f.RST_STREAM, 1))

    async def frames(self):
        """Yield the frames that come until the gateway closes."""
        while True:
            while len(self.rest) >= 9:
                high, low, kind, flags, ident = f.read_head(self.rest, 0)
                end = 9 + (high << 8 | low)
                if len(self.rest) < end:
                    break
                payload, self.rest = self.rest[9:end], self.rest[end:]
                yield kind, flags, ident, payload
            async with asyncio.timeout(60):
                data = await self.client.reader.read(1 << 16)
            if not data:
                return
            self.rest += data

    async def until(self, done):
        seen = []
        async for frame_ in self.frames():
            seen.append(frame_)
            if done(*frame_):
                break
        return seen


def outcome(seen):
    """Return what of the outcomes of the table the frames are."""
    for kind, _, _, payload in seen:
        if kind == f.GOAWAY:
            return Closed(int.from_bytes(payload[4:8], "big"))
    assert seen[-1] == (f.PING, f.ACK, 0, PING), "neither closed nor alive"
    for kind, _, ident, payload in seen:
        if kind == f.RST_STREAM and ident == 1:
            return Reset(int.from_bytes(payload, "big"))
    return GOES_ON


@pytest.mark.parametrize(
    ("state", "sent", "expected"),
    [pytest.param(*row[2:], id=f"{row[0]} {row[2]}: {row[1]}") for row in TABLE],
)
async def test_what_breaks_the_protocol_gets_its_error(
    connect, link, message, kind, state, sent, expected
):
    if state == "held":
        link.hold = asyncio.Event()
    wire = Wire(await connect(), kind, message)
    await wire.reach(state)
    await wire.client.send(sent + frame(f.PING, PING))
    seen = await wire.until(lambda kind, flags, _, payload: (kind, payload) == (f.PING, PING))
    if link.hold:
        link.hold.set()
    assert outcome(seen) == expected


@pytest.mark.parametrize("length", [0, 1, 10_000_000])
@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_a_content_length_that_is_not_that_of_the_data_resets_the_stream(
    connect, message, kind, length, pieces
):
    """Section 8.1.1."""
    wire = Wire(await connect(), kind, message)
    await wire.reach("idle")
    if not pieces and not length:
        length = 5
    sent = wire.head(("content-length", str(length)), end=not pieces)
    if pieces == 2:
        sent += frame(f.DATA, wire.body[:9], stream=1)
        sent += frame(f.DATA, wire.body[9:], flags=f.END_STREAM, stream=1)
    elif pieces:
        sent += frame(f.DATA, wire.body, flags=f.END_STREAM, stream=1)
    await wire.client.send(sent + frame(f.PING, PING))
    seen = await wire.until(lambda kind, flags, _, payload: (kind, payload) == (f.PING, PING))
    found = outcome(seen)
    if length > 1_000 and pieces and found == Reset(f.NO_ERROR):
        return  # it is told that the body would be too large
    assert found == Reset(f.PROTOCOL_ERROR)


@pytest.mark.parametrize(("first", "code"), [
    (frame(f.PING, bytes(8)), P),
    (head(1), P),
    (frame(f.SETTINGS, b"", flags=f.ACK), P),
    (frame(77, b"x"), P),
    (frame(f.SETTINGS, b"x"), Z),
])  # fmt: skip
async def test_the_first_frame_must_be_settings(connect, first, code):
    """Section 3.4."""
    client = await connect()
    await client.send(f.PREFACE + first)
    wire = Wire(client, "app", b"")
    assert outcome(await wire.until(lambda *_: False)) == Closed(code)


async def test_settings_are_acknowledged(connect, message, kind):
    """Section 6.5.3."""
    wire = Wire(await connect(), kind, message)
    await wire.reach("idle")
    await wire.client.send(f.settings({f.HEADER_TABLE_SIZE: 0}) * 3 + frame(f.PING, PING))
    seen = await wire.until(lambda kind, flags, _, payload: (kind, payload) == (f.PING, PING))
    assert seen.count((f.SETTINGS, f.ACK, 0, b"")) == 4


async def test_streams_under_way_are_answered_after_a_goaway(connect, message, kind):
    """Section 6.8."""
    wire = Wire(await connect(), kind, message)
    await wire.reach("open")
    end = frame(f.DATA, wire.body, flags=f.END_STREAM, stream=1)
    await wire.client.send(f.goaway(0, 0) + end)
    seen = await wire.until(lambda kind, flags, ident, _: ident == 1 and flags & f.END_STREAM)
    assert b"\x88" in [payload[:1] for kind, _, ident, payload in seen if kind == f.HEADERS]


async def test_streams_over_the_limit_are_refused_and_the_others_answered(
    connect, link, message, monkeypatch
):
    """Section 5.1.2; what the client has sent for a refused one is ignored."""
    link.hold = asyncio.Event()
    monkeypatch.setattr(requests, "MOST_STREAMS", 1)
    wire = Wire(await connect(), "call", message)
    await wire.reach("held")
    late = frame(f.DATA, b"x", flags=f.END_STREAM, stream=3)
    await wire.client.send(head(3) + late + frame(f.PING, PING))
    seen = await wire.until(lambda kind, flags, _, payload: (kind, payload) == (f.PING, PING))
    assert (f.RST_STREAM, 0, 3, f.REFUSED_STREAM.to_bytes(4, "big")) in seen
    link.hold.set()
    seen = await wire.until(lambda kind, flags, ident, _: ident == 1 and flags & f.END_STREAM)
    assert outcome([*seen, (f.PING, f.ACK, 0, PING)]) == GOES_ON
