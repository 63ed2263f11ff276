"""Where the HEADERS and DATA of a client lead: to a call, to the app, or to a refusal.

Each refusal has its code, counts against the client or not, and leaves nothing held.
"""

from __future__ import annotations

import asyncio

import pytest
from hpack import Encoder

from serving.access.decision import Access
from serving.access.web import FROM_A_PAGE, WebAccess
from serving.gateway.direct.http2.intake import CONNECTION_WINDOW, STREAM_WINDOW
from serving.gateway.direct.http2.requests import MOST_STREAMS, Requests
from serving.gateway.direct.http2.shapes import Shapes2
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.time_slices import CALL_UNITS, TASK_S, TimeSlices
from serving.gateway.grpc.paths import LONG_LIVED, SERVICE
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

LIMIT = 1000
END = f.END_STREAM
TO_APP = "/v2/models/m/infer"
STREAM = LONG_LIVED[0]
ENDED_BY_CLIENT = "its client has ended"


class Calls:
    """Keeps the calls whose messages are whole."""

    def __init__(self):
        self.whole = []

    def complete(self, call, body):
        call.complete = True
        self.whole.append((call.ident, bytes(body)))


class App:
    """Collects the body of each request, from when it is let go on."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.scopes, self.taken, self.errors = [], [], []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        await self.go_on.wait()
        more = True
        while more:
            try:
                message = await receive()
            except Exception as error:
                self.errors.append(error)
                raise
            self.taken.append(message.get("body"))
            more = message.get("more_body", False)


@pytest.fixture
async def taking(made):
    """The requests of a connection, and what stands beside them."""
    made.calls, made.app = Calls(), App()
    made.charges = charges = []
    made.state.slices = TimeSlices(lambda _turn: None, lambda: 1.0)
    made.state.slices.charge = charges.append
    made.state.app = made.app
    peer = Peer(("10.0.0.9", 5), 0, Access())
    shapes = Shapes2(WebAccess())
    made.requests = Requests(
        made.state, peer, made.streams, made.sender, made.intake, made.calls, shapes
    )
    yield made
    made.streams.lost()
    await asyncio.sleep(0)


def block(*extra, path=SERVICE + "ModelInfer", grpc=True, encoder=None):
    start = [(":method", "POST"), (":scheme", "http"), (":authority", "v"), (":path", path)]
    kind = [("content-type", "application/grpc")] if grpc else []
    return (encoder or Encoder()).encode([*start, *kind, *extra])


def resets(frames):
    return [(i, int.from_bytes(p, "big")) for kind, _, i, p in frames if kind == f.RST_STREAM]


def answered(wire):
    """Stream and text of the first HEADERS and DATA, and the resets behind them."""
    frames = wire.frames()
    text = b"".join(p for kind, _, _, p in frames if kind in (f.HEADERS, f.DATA))
    return text, resets(frames)


class TestHeaders:
    @pytest.mark.parametrize("flags", [0, END])
    async def test_a_plain_call_is_whole_with_its_end(self, taking, flags):
        taking.requests.begin(flags, 1, block())
        assert taking.calls.whole == ([(1, b"")] if flags else [])
        call = taking.streams.by_number[1]
        assert (call.context.client, call.window) == ("10.0.0.9", taking.sender.initial)
        assert call.deadline == taking.state.clock.body_until
        assert not taking.charges

    async def test_everything_else_is_the_app_s_and_costs_a_task(self, taking):
        taking.requests.begin(END, 1, block(path=TO_APP + "?a=b", grpc=False))
        taking.requests.begin(0, 3, block(path=SERVICE + "ModelReady"))
        await asyncio.sleep(0)
        asked = [(s["path"], s["query_string"], s["client"]) for s in taking.app.scopes]
        client = ("10.0.0.9", 0)
        assert asked == [(TO_APP, b"a=b", client), (SERVICE + "ModelReady", b"", client)]
        assert taking.charges == [TASK_S, TASK_S]
        assert [s.complete for s in taking.streams.by_number.values()] == [True, False]

    async def test_a_head_counts_by_its_length(self, taking):
        head = block()
        taking.requests.begin(0, 1, head)
        short = taking.state.slices.spent
        assert short == CALL_UNITS + len(head) // 64
        long = block(("a", "x" * 6400))
        taking.requests.begin(0, 3, long)
        assert taking.state.slices.spent - short == CALL_UNITS + len(long) // 64

    @pytest.mark.parametrize("flags", [0, END])
    async def test_a_malformed_head_resets_its_stream_and_is_counted(self, taking, wire, flags):
        taking.requests.begin(flags, 1, block(("Upper", "x")))
        assert wire.frames() == [(f.RST_STREAM, 0, 1, f.PROTOCOL_ERROR.to_bytes(4, "big"))]
        assert (taking.intake.strikes, taking.streams.by_number) == (1, {})
        if flags:
            with pytest.raises(ProtocolError, match=ENDED_BY_CLIENT):
                taking.requests.data(0, 1, b"x")
        else:
            taking.requests.data(END, 1, b"x")  # was under way

    async def test_streams_over_the_limit_are_refused_and_may_be_tried_again(self, taking, wire):
        assert taking.requests.most == MOST_STREAMS
        taking.requests.most = 1
        encoder = Encoder()
        taking.requests.begin(0, 1, block(encoder=encoder))
        taking.requests.begin(0, 3, block(("x-a", "1"), path=TO_APP, encoder=encoder))
        assert resets(wire.frames()) == [(3, f.REFUSED_STREAM)]
        assert taking.intake.strikes == 1
        taking.streams.forget(taking.streams.by_number[1])
        # The refused head has been read: later ones are encoded by what it put into the table.
        taking.requests.begin(0, 5, block(("x-a", "1"), path=TO_APP, encoder=encoder))
        assert (b"x-a", b"1") in taking.streams.by_number[5].head.headers

    async def test_numbers_may_be_left_out_but_not_used_later(self, taking):
        taking.requests.begin(END, 3, block())
        with pytest.raises(ProtocolError, match="must increase"):
            taking.requests.begin(END, 1, block())

    async def test_a_head_that_was_answered_is_no_open_number(self, taking):
        taking.requests.begin(END, 1, block(path="/%2f", grpc=False))
        with pytest.raises(ProtocolError, match=ENDED_BY_CLIENT):
            taking.requests.begin(END, 1, block())


class TestRefusedHeads:
    @pytest.mark.parametrize(
        ("path", "extra", "grpc", "told"),
        [
            ("/%2f", [], False, b"400"),
            ("/%2f", [], True, b"grpc-status\x013"),
            (TO_APP, [("origin", "http://evil")], False, b"403"),
            (SERVICE + "ModelInfer", [("origin", "http://evil")], True, b"grpc-status\x017"),
        ],
    )
    async def test_what_is_wrong_is_told_in_the_client_s_protocol(
        self, taking, wire, path, extra, grpc, told
    ):
        taking.requests.begin(0, 1, block(*extra, path=path, grpc=grpc))
        text, reset = answered(wire)
        assert told in text
        assert (FROM_A_PAGE.encode() in text) == bool(extra)
        assert (reset, taking.streams.by_number, taking.intake.strikes) == ([], {}, 0)
        taking.requests.data(END, 1, b"x")  # was under way
        assert taking.calls.whole == []

    @pytest.mark.parametrize(
        ("size", "grpc", "told"),
        [
            (LIMIT, False, None),
            (LIMIT + 1, False, b"413"),
            (LIMIT + 5, True, None),
            (LIMIT + 6, True, b"grpc-status\x018"),
            (10**18, True, b"grpc-status\x018"),
        ],
    )
    async def test_an_announced_length_over_the_limit_is_not_waited_for(
        self, taking, wire, size, grpc, told
    ):
        path = SERVICE + "ModelInfer" if grpc else TO_APP
        length = ("content-length", str(size))
        taking.requests.begin(0, 1, block(length, path=path, grpc=grpc))
        text, reset = answered(wire)
        if told is None:
            assert (text, taking.state.bodies.held) == (b"", size)
            return
        assert told in text
        assert f"the limit of {LIMIT} bytes".encode() in text
        assert (reset, taking.intake.strikes) == ([(1, f.NO_ERROR)], 1)
        assert (taking.streams.by_number, taking.state.bodies.held) == ({}, 0)
        taking.requests.data(0, 1, b"x")  # was under way

    @pytest.mark.parametrize(("grpc", "told"), [(True, b"grpc-status\x0214"), (False, b"503")])
    async def test_one_without_room_is_refused_and_not_counted(self, taking, wire, grpc, told):
        taking.state.bodies.held = taking.state.bodies.most
        path = SERVICE + "ModelInfer" if grpc else TO_APP
        taking.requests.begin(0, 1, block(("content-length", "9"), path=path, grpc=grpc))
        text, reset = answered(wire)
        assert told in text
        assert b"listen.max_inflight_mib" in text
        assert (reset, taking.intake.strikes) == ([(1, f.NO_ERROR)], 0)

    @pytest.mark.parametrize("path", LONG_LIVED)
    async def test_the_length_of_a_stream_does_not_count(self, taking, wire, path):
        taking.requests.begin(0, 1, block(("content-length", str(LIMIT * 9)), path=path))
        assert wire.frames() == []
        assert (list(taking.streams.by_number), taking.state.bodies.held) == ([1], 0)


class TestTrailers:
    async def test_they_end_a_body(self, taking):
        taking.requests.begin(0, 1, block())
        taking.requests.data(0, 1, b"ab")
        taking.requests.begin(END, 1, Encoder().encode([("x", "y")]))
        assert taking.calls.whole == [(1, b"ab")]
        assert taking.intake.held == 0

    @pytest.mark.parametrize(
        ("flags", "field", "first", "code"),
        [
            (0, "x", 0, f.PROTOCOL_ERROR),  # they do not end the stream
            (END, ":path", 0, f.PROTOCOL_ERROR),
            (END, "x", END, f.STREAM_CLOSED),  # it has ended before
        ],
    )
    async def test_wrong_ones_reset_the_stream(self, taking, wire, flags, field, first, code):
        taking.requests.begin(first, 1, block())
        taking.requests.begin(flags, 1, Encoder().encode([(field, "y")]))
        assert resets(wire.frames()) == [(1, code)]
        assert taking.intake.strikes == 1

    async def test_late_ones_are_read_for_the_table_and_are_the_end(self, taking):
        encoder = Encoder()
        taking.requests.begin(0, 1, block(encoder=encoder))
        taking.streams.reset_number(1, f.CANCEL)
        taking.requests.begin(END, 1, encoder.encode([("x-late", "1")]))
        taking.requests.begin(END, 3, block(("x-late", "1"), path=TO_APP, encoder=encoder))
        assert (b"x-late", b"1") in taking.streams.by_number[3].head.headers
        with pytest.raises(ProtocolError, match=ENDED_BY_CLIENT):
            taking.requests.begin(END, 1, encoder.encode([("x-late", "1")]))


class TestData:
    @pytest.mark.parametrize("cuts", [(0,), (0, 4), (0, 0, 1, 7)])
    @pytest.mark.parametrize("padded", [False, True])
    async def test_any_cut_is_the_same_message(self, taking, cuts, padded):
        body = b"12345678"
        taking.requests.begin(0, 1, block())
        sent = 0
        for start, end in zip(cuts, (*cuts[1:], len(body)), strict=True):
            flags = END if end == len(body) else 0
            piece = body[start:end]
            if padded:
                flags, piece = flags | f.PADDED, b"\x03" + piece + bytes(3)
            taking.requests.data(flags, 1, piece)
            sent += len(piece)
        assert taking.calls.whole == [(1, body)]
        assert (taking.intake.held, taking.intake.taken) == (0, sent)
        assert taking.intake.window == CONNECTION_WINDOW - sent

    @pytest.mark.parametrize("ident", [3, 2])
    async def test_for_a_stream_that_was_never_opened_it_ends_the_connection(self, taking, ident):
        taking.requests.begin(0, 1, block())
        with pytest.raises(ProtocolError, match="never opened"):
            taking.requests.data(0, ident, b"x")

    async def test_after_the_end_it_resets_the_stream_and_is_granted_again(self, taking, wire):
        taking.requests.begin(END, 1, block())
        taking.requests.data(0, 1, b"abc")
        assert resets(wire.frames()) == [(1, f.STREAM_CLOSED)]
        assert (taking.intake.strikes, taking.intake.taken) == (1, 3)

    async def test_late_data_is_granted_again_and_counted(self, taking, wire):
        taking.requests.begin(0, 1, block())
        taking.streams.reset_number(1, f.CANCEL)
        taking.requests.data(0, 1, b"abc")
        assert (taking.intake.taken, taking.intake.control) == (3, 1)
        taking.requests.data(END, 1, b"")
        with pytest.raises(ProtocolError, match=ENDED_BY_CLIENT):
            taking.requests.data(0, 1, b"x")

    async def test_empty_frames_that_end_nothing_are_counted(self, taking):
        taking.requests.begin(0, 1, block())
        taking.requests.data(0, 1, b"")
        taking.requests.data(f.PADDED, 1, b"\x02ab")
        assert taking.intake.control == 2
        taking.requests.data(0, 1, b"x")
        taking.requests.data(END, 1, b"")
        assert taking.intake.control == 2

    @pytest.mark.parametrize("path", [SERVICE + "ModelInfer", TO_APP])
    async def test_more_than_the_connection_s_window_ends_it(self, taking, path):
        taking.requests.begin(0, 1, block(path=path))
        taking.intake.window = 3
        taking.requests.data(0, 1, b"abc")
        with pytest.raises(ProtocolError) as ended:
            taking.requests.data(0, 1, b"d")
        assert ended.value.code == f.FLOW_CONTROL_ERROR

    async def test_more_than_a_stream_s_window_ends_the_connection(self, taking):
        taking.requests.begin(0, 1, block(path=STREAM))
        taking.streams.by_number[1].unacknowledged = STREAM_WINDOW - 3
        taking.requests.data(0, 1, b"abc")
        with pytest.raises(ProtocolError) as ended:
            taking.requests.data(0, 1, b"d")
        assert ended.value.code == f.FLOW_CONTROL_ERROR

    @pytest.mark.parametrize(
        ("path", "grpc", "told"),
        [(SERVICE + "ModelInfer", True, b"grpc-status\x018"), (TO_APP, False, b"413")],
    )
    async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is(
        self, taking, wire, path, grpc, told
    ):
        taking.requests.begin(0, 1, block(path=path, grpc=grpc))
        taking.requests.data(0, 1, bytes(LIMIT + 5))
        assert answered(wire) == (b"", [])
        taking.requests.data(0, 1, b"x")
        text, reset = answered(wire)
        assert told in text
        assert reset == [(1, f.NO_ERROR)]
        assert (taking.intake.held, taking.state.bodies.held) == (0, 0)
        assert taking.intake.taken >= LIMIT + 6

    async def test_one_whose_answer_has_begun_is_only_reset(self, taking, wire):
        taking.requests.begin(0, 1, block(path=TO_APP, grpc=False))
        taking.streams.by_number[1].begun = True
        taking.requests.data(0, 1, bytes(LIMIT + 6))
        assert wire.frames() == [(f.RST_STREAM, 0, 1, f.CANCEL.to_bytes(4, "big"))]

    @pytest.mark.parametrize(
        ("path", "grpc", "told"),
        [(SERVICE + "ModelInfer", True, b"grpc-status\x0214"), (TO_APP, False, b"503")],
    )
    async def test_a_body_without_room_is_refused(self, taking, wire, path, grpc, told):
        taking.state.bodies.held = before = taking.state.bodies.most
        taking.requests.begin(0, 1, block(path=path, grpc=grpc))
        taking.requests.data(0, 1, b"abc")
        text, reset = answered(wire)
        assert told in text
        assert b"listen.max_inflight_mib" in text
        assert reset == [(1, f.NO_ERROR)]
        assert (taking.intake.held, taking.intake.taken) == (0, 3)
        assert taking.state.bodies.held == before

    async def test_a_stream_without_room_is_answered_for_what_came_before(self, taking, wire):
        taking.requests.begin(0, 1, block(path=STREAM))
        taking.requests.data(0, 1, b"first")
        taking.state.bodies.held += taking.state.bodies.most
        taking.requests.data(0, 1, b"second")
        taking.state.bodies.held -= taking.state.bodies.most
        taking.requests.data(END, 1, b"third")  # there is room again, but not for this stream
        assert wire.frames() == []
        taking.app.go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert taking.app.taken == [b"first"]
        (error,) = taking.app.errors
        assert "max_inflight_mib" in str(error)
        assert (taking.intake.held, taking.state.bodies.held) == (0, 0)

    async def test_a_long_stream_has_no_limit(self, taking, wire):
        taking.app.go_on.set()
        taking.requests.begin(0, 1, block(path=STREAM))
        for _ in range(9):
            taking.requests.data(0, 1, bytes(LIMIT))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert wire.frames() == []
        assert b"".join(taking.app.taken) == bytes(9 * LIMIT)

    @pytest.mark.parametrize(("sent", "wrong"), [(b"abc", False), (b"abcd", True), (b"ab", True)])
    async def test_a_content_length_must_be_true(self, taking, wire, sent, wrong):
        taking.requests.begin(0, 1, block(("content-length", "3"), path=TO_APP, grpc=False))
        taking.requests.data(0, 1, sent[:1])
        taking.requests.data(END, 1, sent[1:])
        assert resets(wire.frames()) == ([(1, f.PROTOCOL_ERROR)] if wrong else [])
        assert taking.intake.strikes == wrong

    async def test_with_too_many_bodies_the_youngest_goes(self, taking, wire):
        taking.intake.most_held = 5
        for ident in (1, 3):
            taking.requests.begin(0, ident, block())
        taking.requests.data(0, 3, b"abc")
        taking.requests.data(0, 1, b"ab")
        assert wire.frames() == []
        taking.requests.data(0, 1, b"c")
        assert resets(wire.frames()) == [(3, f.REFUSED_STREAM)]
        assert taking.intake.held == 3
