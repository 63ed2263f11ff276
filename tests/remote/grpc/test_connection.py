"""The gRPC carrier against a peer that speaks HTTP/2 frame by frame, and not always well."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest
from hpack import Decoder, Encoder

from serving.errors import ModelFailed, ModelNotReady, QuotaExceeded, Unreachable, Unsupported
from serving.http2 import frames as f
from serving.remote.wire import UpstreamCall

CALL = UpstreamCall("/s/M", b"question")
OK = [(":status", "200"), ("content-type", "application/grpc")]
DONE = [("grpc-status", "0")]


class Talk:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = Encoder(), Decoder()

    async def hello(self, settings: dict[int, int] | None = None) -> None:
        assert await self.reader.readexactly(len(f.PREFACE)) == f.PREFACE
        self.write(f.settings(settings or {}))

    async def frame(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """Return the next frame of these kinds."""
        while True:
            high, low, kind, flags, ident = f.read_head(await self.reader.readexactly(9))
            payload = await self.reader.readexactly(high << 8 | low)
            if kind in kinds:
                return kind, flags, ident, payload

    async def call(self) -> tuple[int, dict[str, str], bytes]:
        """Return stream, headers and message of the next call."""
        _, flags, ident, block = await self.frame(f.HEADERS)
        assert flags & f.END_HEADERS
        headers = dict(self.decoder.decode(block))
        body = b""
        while not flags & f.END_STREAM:
            _, flags, which, piece = await self.frame(f.DATA)
            assert which == ident
            body += piece
        assert body[:5] == b"\0" + (len(body) - 5).to_bytes(4, "big")
        return ident, headers, body[5:]

    def write(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    def head(self, ident: int, fields: list[tuple[str, str]], *, end: bool = False) -> bytes:
        block = self.encoder.encode(fields)
        return f.headers(f.END_STREAM if end else 0, ident, block, 1 << 14)

    def message(self, ident: int, body: bytes, flag: int = 0, flags: int = 0) -> bytes:
        data = bytes((flag,)) + len(body).to_bytes(4, "big") + body
        return f.frame(f.DATA, flags, ident, data)

    def answer(self, ident: int, body: bytes) -> None:
        self.write(
            self.head(ident, OK), self.message(ident, body), self.head(ident, DONE, end=True)
        )

    async def rest(self) -> None:
        """Answer every further call with what it asked."""
        while True:
            ident, _, body = await self.call()
            self.answer(ident, body)


Play = Callable[[Talk], Awaitable[None]]


@pytest.fixture
def playing(peer, client_of):
    """Makes a client of a peer that says hello and then does what a test wants."""

    def make(play: Play, settings: dict[int, int] | None = None):
        async def script(reader, writer):
            talk = Talk(reader, writer)
            await talk.hello(settings)
            await play(talk)

        peer.script = script
        return client_of(f"grpc://127.0.0.1:{peer.port}")

    return make


async def test_the_headers_of_a_call(playing):
    seen = []

    async def play(talk):
        ident, headers, body = await talk.call()
        seen.append((headers, body))
        talk.answer(ident, b"answer")
        await talk.rest()

    client = playing(play)
    assert (await client.send(CALL, 2.5)).body == b"answer"
    (headers, body) = seen[0]
    assert body == b"question"
    assert headers.pop(":authority").startswith("127.0.0.1:")
    assert headers == {
        ":method": "POST", ":scheme": "http", ":path": "/s/M", "te": "trailers",
        "content-type": "application/grpc", "user-agent": "vigil",
        "grpc-accept-encoding": "identity", "grpc-timeout": "2500000u",
    }  # fmt: skip


async def test_a_peer_that_keeps_no_table_is_told_that_none_is_needed(playing):
    async def play(talk):
        talk.decoder.max_allowed_table_size = 0  # refuses blocks that do not shrink it
        await talk.rest()

    client = playing(play, {f.HEADER_TABLE_SIZE: 0})
    for _ in range(3):
        assert (await client.send(CALL)).body == b"question"


async def test_frames_that_are_cut_anywhere(playing):
    """Padding, further header frames, unknown frames; a byte at a time."""
    body = b"x" * 300

    async def play(talk):
        ident, _, _ = await talk.call()
        data = b"\0" + len(body).to_bytes(4, "big") + body
        pieces = [data[:3], data[3:7], b"", data[7:]]
        block = talk.encoder.encode([*OK, ("x-filler", "y" * 500)])
        padded = f.frame(f.HEADERS, f.PADDED | f.WITH_PRIORITY, ident,
                         b"\x02" + bytes(5) + block[:20] + bytes(2))  # fmt: skip
        whole = b"".join([
            padded,
            f.frame(f.CONTINUATION, 0, ident, block[20:40]),
            f.frame(f.CONTINUATION, f.END_HEADERS, ident, block[40:]),
            f.frame(0xBE, 0, 0, b"whatever"),
            *(f.frame(f.DATA, f.PADDED, ident, b"\x03" + piece + bytes(3)) for piece in pieces),
            talk.head(ident, DONE, end=True),
        ])  # fmt: skip
        for at in range(len(whole)):
            talk.write(whole[at : at + 1])
            await talk.writer.drain()
            await asyncio.sleep(0)
        await talk.rest()

    client = playing(play)
    assert (await client.send(CALL)).body == body
    assert (await client.send(CALL)).body == b"question"


async def test_an_announcement_comes_before_the_headers(playing):
    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(talk.head(ident, [(":status", "103")]))
        talk.answer(ident, b"real")
        await talk.rest()

    assert (await playing(play).send(CALL)).body == b"real"


async def test_windows_of_the_peer_hold(playing):
    message = bytes(range(256)) * 400  # 102,400 bytes
    seen = []

    async def play(talk):
        _, _, ident, _ = await talk.frame(f.HEADERS)
        got, flags = b"", 0
        connection, stream = f.FIRST_WINDOW, 1000
        while not flags & f.END_STREAM:
            # Everything that there is room for, and nothing more before it is granted.
            while min(connection, stream):
                _, flags, _, piece = await talk.frame(f.DATA)
                assert len(piece) <= min(connection, stream)
                seen.append(len(piece))
                got += piece
                connection -= len(piece)
                stream -= len(piece)
                if flags & f.END_STREAM:
                    break
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.reader.readexactly(1), 0.01)
            if not stream:
                stream += 30_000
                talk.write(f.window_update(ident, 30_000))
            if not connection:
                connection += 50_000
                talk.write(f.window_update(0, 50_000))
        assert got[5:] == message
        talk.answer(ident, b"")
        await talk.rest()

    client = playing(play, {f.INITIAL_WINDOW_SIZE: 1000})
    assert (await client.send(UpstreamCall("/s/M", message))).body == b""
    assert max(seen) <= f.SMALLEST_FRAME
    assert seen[0] == 1000


async def test_a_window_of_settings_counts_for_calls_under_way(playing):
    async def play(talk):
        await talk.frame(f.HEADERS)
        _, _, ident, first = await talk.frame(f.DATA)
        assert first == b"\0\0"  # the prefix itself may be cut
        talk.write(f.settings({f.INITIAL_WINDOW_SIZE: 7}))
        _, flags, _, second = await talk.frame(f.DATA)
        assert second == b"\0\0\x08qu"
        talk.write(f.window_update(ident, 100))
        _, flags, _, third = await talk.frame(f.DATA)
        assert third == b"estion"
        assert flags & f.END_STREAM
        talk.answer(ident, b"fine")
        await talk.rest()

    assert (await playing(play, {f.INITIAL_WINDOW_SIZE: 2}).send(CALL)).body == b"fine"


async def test_a_large_answer_needs_no_further_room(playing):
    body = bytes(range(256)) * (20 << 10)  # 5 MiB

    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(talk.head(ident, OK))
        data = b"\0" + len(body).to_bytes(4, "big") + body
        for at in range(0, len(data), 1 << 20):
            talk.write(f.frame(f.DATA, 0, ident, data[at : at + (1 << 20)]))
        talk.write(talk.head(ident, DONE, end=True))
        await talk.rest()

    client = playing(play)
    assert (await client.send(CALL)).body == body
    assert (await client.send(CALL)).body == b"question"


async def test_pings_are_answered(playing):
    async def play(talk):
        talk.write(f.frame(f.PING, 0, 0, b"12345678"))
        assert (await talk.frame(f.PING))[1:] == (f.ACK, 0, b"12345678")
        await talk.rest()

    assert (await playing(play).send(CALL)).body == b"question"


async def test_calls_that_were_not_looked_at_are_sent_again(playing, peer):
    async def play(talk):
        if peer.connections == 1:
            first, _, _ = await talk.call()
            _second, _, _ = await talk.call()
            talk.write(f.goaway(first, f.NO_ERROR))
            talk.answer(first, b"old")
            assert await talk.reader.read() is not None  # it closes when it has its answer
        else:
            await talk.rest()

    client = playing(play)
    first = asyncio.create_task(client.send(CALL))
    await asyncio.sleep(0)
    second = asyncio.create_task(client.send(UpstreamCall("/s/M", b"second")))
    assert (await first).body == b"old"
    assert (await second).body == b"second"
    assert peer.connections == 2


async def test_a_refused_stream_is_tried_again_once(playing):
    idents = []

    async def play(talk):
        while True:
            ident, _, _ = await talk.call()
            idents.append(ident)
            talk.write(f.reset(ident, f.REFUSED_STREAM))

    told = await playing(play).refused(CALL)
    assert isinstance(told, ModelNotReady)
    assert idents == [1, 3]


async def test_a_stream_refused_at_the_limit_waits_for_the_end_of_another(playing):
    seen = []

    async def play(talk):
        async def called():
            ident, _, body = await talk.call()
            seen.append(body)
            return ident

        first, refused = await called(), await called()
        for _ in range(2):  # each time it still counts a stream that it has ended
            talk.write(f.reset(refused, f.REFUSED_STREAM))
            talk.answer(first, b"")
            refused, first = await called(), await called()
        talk.answer(refused, b"at last")
        talk.answer(first, b"")
        await talk.rest()

    client = playing(play, {f.MAX_CONCURRENT_STREAMS: 2})
    calls = [client.send(UpstreamCall("/s/M", body)) for body in (b"a", b"b", b"c", b"d")]
    answers = await asyncio.gather(*calls)
    assert [answer.body for answer in answers] == [b"", b"at last", b"", b""]
    assert seen == [b"a", b"b", b"b", b"c", b"b", b"d"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(f.CANCEL, ModelNotReady), (f.ENHANCE_YOUR_CALM, QuotaExceeded),
     (f.INTERNAL_ERROR, ModelFailed)],
)  # fmt: skip
async def test_resets_end_their_call_alone(playing, code, kind):
    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(f.reset(ident, code))
        await talk.rest()

    client = playing(play)
    assert type(await client.refused(CALL)) is kind
    assert (await client.send(CALL)).body == b"question"


TRAILERS = [
    ([*OK, ("grpc-status", "14"), ("grpc-message", "no%20%C3%B6%zz%")], ModelNotReady, "no ö%zz%"),
    ([*OK, ("grpc-status", "99")], ModelFailed, "UNKNOWN"),
    ([*OK, ("grpc-status", "x")], ModelFailed, "UNKNOWN"),
    (OK, ModelFailed, "without a status"),
    (OK + DONE, ModelFailed, "before the message was whole"),
    ([(":status", "404")], Unsupported, "HTTP status 404"),
    ([(":status", "503")], ModelNotReady, "HTTP status 503"),
    ([(":status", "418")], ModelFailed, "HTTP status 418"),
]


@pytest.mark.parametrize(("fields", "kind", "why"), TRAILERS)
async def test_answers_of_headers_alone(playing, fields, kind, why):
    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(talk.head(ident, fields, end=True))
        await talk.rest()

    client = playing(play)
    told = await client.refused(CALL)
    assert type(told) is kind
    assert why in told.message
    assert (await client.send(CALL)).body == b"question"


def _pack(talk, ident):
    packed = gzip.compress(b"z" * 5000)
    head = talk.head(ident, [*OK, ("grpc-encoding", "gzip")])
    return head + talk.message(ident, packed, 1) + talk.head(ident, DONE, end=True)


async def test_a_compressed_answer_is_unpacked_all_the_same(playing):
    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(_pack(talk, ident))
        await talk.rest()

    assert (await playing(play).send(CALL)).body == b"z" * 5000


def _head(talk, ident, *more):
    return talk.head(ident, [*OK, *more])


def _done(talk, ident):
    return talk.head(ident, DONE, end=True)


ODD = {
    "more than one message": lambda talk, ident: (
        _head(talk, ident) + talk.message(ident, b"a") + talk.message(ident, b"a")
    ),
    "4294967295 bytes": lambda talk, ident: (
        _head(talk, ident) + f.frame(f.DATA, 0, ident, b"\0\xff\xff\xff\xff")
    ),
    "was whole": lambda talk, ident: (
        _head(talk, ident) + f.frame(f.DATA, 0, ident, b"\0\0\0\0\x09abc") + _done(talk, ident)
    ),
    "without a status": lambda talk, ident: (
        _head(talk, ident) + talk.message(ident, b"a", flags=f.END_STREAM)
    ),
    "as 'snappy'": lambda talk, ident: (
        _head(talk, ident, ("grpc-encoding", "snappy"))
        + talk.message(ident, b"a", 1)
        + _done(talk, ident)
    ),
    "is damaged": lambda talk, ident: (
        _head(talk, ident, ("grpc-encoding", "gzip"))
        + talk.message(ident, b"noise", 1)
        + _done(talk, ident)
    ),
    "is cut off": lambda talk, ident: (
        _head(talk, ident, ("grpc-encoding", "gzip"))
        + talk.message(ident, gzip.compress(b"z" * 99)[:-9], 1)
        + _done(talk, ident)
    ),
    "headers twice": lambda talk, ident: _head(talk, ident) + _head(talk, ident),
}


@pytest.mark.parametrize("why", ODD)
async def test_answers_that_are_none_fail_their_call_alone(playing, why):
    async def play(talk):
        ident, _, _ = await talk.call()
        talk.write(ODD[why](talk, ident))
        await talk.rest()

    client = playing(play)
    told = await client.refused(CALL)
    assert type(told) is ModelFailed
    assert why in told.message
    assert (await client.send(CALL)).body == b"question"


@pytest.mark.parametrize(
    "wrong",
    [
        f.frame(f.HEADERS, f.END_HEADERS, 99, b"\x88"),
        f.frame(f.DATA, 0, 2, b""),
        f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
        f.frame(f.CONTINUATION, f.END_HEADERS, 1, b""),
        f.frame(f.HEADERS, 0, 1, b"\x88") + f.frame(f.PING, 0, 0, bytes(8)),
        f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, bytes(4)),
        f.frame(f.DATA, f.PADDED, 1, b"\x09"),
        f.frame(f.WINDOW_UPDATE, 0, 0, b""),
        f.frame(f.GOAWAY, 0, 0, b""),
        f.frame(f.SETTINGS, 0, 0, b"12345"),
        f.window_update(0, f.LARGEST_WINDOW),
        b"\xff" * 9,
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_left_and_found_again(playing, peer, wrong):
    async def play(talk):
        await talk.call()
        if peer.connections == 1:
            talk.write(wrong)
            assert (await talk.frame(f.GOAWAY))[3][4:8] != bytes(4)
        else:
            talk.answer(1, b"better")
            await talk.rest()

    client = playing(play)
    assert isinstance(await client.refused(CALL), Unreachable)
    assert (await client.send(CALL)).body == b"better"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\4\1\0\0\0\0"])
async def test_what_does_not_speak_http2_is_nobody(peer, client_of, said):
    async def script(_reader, writer):
        writer.write(said)

    peer.script = script
    client = client_of(f"grpc://127.0.0.1:{peer.port}")
    assert isinstance(await client.refused(CALL), Unreachable)
    assert not await client.carrier.alive()


async def test_a_call_that_waits_for_the_connection_may_be_late(peer, client_of):
    async def script(reader, _writer):
        await reader.read()  # and says nothing

    peer.script = script
    told = await client_of(f"grpc://127.0.0.1:{peer.port}").refused(CALL, 0.05)
    assert "did not answer within 0.05 s" in told.message


async def test_an_answer_before_the_question_is_whole_ends_it(playing):
    async def play(talk):
        _, _, ident, _ = await talk.frame(f.HEADERS)
        await talk.frame(f.DATA)
        talk.answer(ident, b"enough")
        assert (await talk.frame(f.RST_STREAM))[2] == ident
        talk.write(f.window_update(0, 1 << 20))
        await talk.rest()

    client = playing(play)
    assert (await client.send(UpstreamCall("/s/M", bytes(200_000)))).body == b"enough"
    assert (await client.send(CALL)).body == b"question"
