"""Slices of the event loop's turns: who gets how much, and that nothing is lost or reordered."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.access.decision import Access
from serving.config import Listen
from serving.dataplane.hooks.server_durations import ServerDurations
from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.connection import MOST_AHEAD
from serving.gateway.direct.http1.connection import Http1
from serving.gateway.direct.http2.connection import Http2
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.server import DirectServer
from serving.gateway.direct.time_slices import QUANTUM_S, SAMPLE, SLICE_S, TimeSlices
from serving.http2 import frames as f
from serving.telemetry.counters import SeriesSet

LIMIT = 1 << 20
READ = 256 << 10
"""Bytes that the event loop reads at once."""


class Loop:
    """Turns that are run by hand, and a clock that each piece of work moves."""

    def __init__(self):
        self.soon = deque()
        self.now = 1.0
        self.slices = TimeSlices(self.soon.append, lambda: self.now)

    def turn(self):
        for _ in range(len(self.soon)):
            self.soon.popleft()()


class Busy:
    """A connection with so many pieces of work left, each of which takes `step` seconds."""

    queued = greedy = aborted = False

    def __init__(self, loop, name, pieces, step=QUANTUM_S / 4, log=None):
        self.loop, self.name, self.pieces, self.step = loop, name, pieces, step
        self.log = [] if log is None else log

    def work(self):
        while self.pieces:
            self.pieces -= 1
            self.loop.now += self.step
            self.log.append(self.name)
            if self.loop.slices.over():
                return not self.pieces
        return True

    def abort(self):
        self.aborted = True


class TestTurns:
    @pytest.fixture
    def loop(self):
        return Loop()

    def test_what_comes_in_is_worked_on_until_the_slice_of_the_turn_is_over(self, loop):
        slices = loop.slices
        assert not slices.closed
        assert not slices.over()  # the first look begins the slice
        loop.now += SLICE_S * 0.99
        assert not slices.over()
        assert not slices.closed
        loop.now += SLICE_S * 0.02
        assert slices.over()
        assert slices.closed  # for every other connection as well
        loop.turn()
        assert not slices.closed
        assert not slices.over()
        assert not loop.soon or not slices.closed

    def test_an_idle_loop_has_no_turns(self, loop):
        loop.slices.over()
        loop.turn()
        assert not loop.soon

    def test_greedy_connections_share_a_part_of_each_turn(self, loop):
        log = []
        workers = [Busy(loop, name, 10_000, log=log) for name in range(8)]
        for worker in workers:
            loop.slices.queue(worker)
        for _ in range(20):  # by then each has used up a quantum
            loop.turn()
        assert all(worker.greedy for worker in workers)
        log.clear()
        for _ in range(16):
            before = loop.now
            loop.turn()
            assert loop.now - before <= 1.5 * QUANTUM_S  # and not one quantum for each
        order = [name for name, _ in itertools.groupby(log)]
        assert order == [*order[:8], *order[:8]]  # in turns
        assert set(order) == set(range(8))

    def test_newcomers_go_before_them_and_both_go_on(self, loop):
        log = []
        greedy = Busy(loop, "greedy", 10_000, log=log)
        loop.slices.queue(greedy)
        loop.turn()
        assert greedy.greedy
        log.clear()
        for _ in range(10):
            quick = Busy(loop, "quick", 1, log=log)
            loop.slices.queue(quick)
            assert loop.slices.closed  # what comes now is not worked on before it
            loop.turn()
            assert not quick.queued
            assert log[0] == "quick"
            assert "greedy" in log
            assert not loop.slices.closed
            log.clear()

    def test_many_newcomers_do_not_stop_greedy_ones_nor_overrun_the_turn(self, loop):
        greedy = Busy(loop, "greedy", 10_000)
        loop.slices.queue(greedy)
        loop.turn()
        for _ in range(50):
            for _ in range(9):
                loop.slices.queue(Busy(loop, "quick", 1))
            done, before = len(greedy.log), loop.now
            loop.turn()
            assert len(greedy.log) > done
            assert loop.now - before <= SLICE_S + 2 * QUANTUM_S
        assert loop.slices.closed  # more came than can be worked on: it stays in order

    def test_one_that_has_ended_is_passed_over(self, loop):
        worker = Busy(loop, "gone", 5)
        loop.slices.queue(worker)
        worker.queued = False
        loop.turn()
        assert not worker.log

    def test_one_that_fails_ends_and_the_others_go_on(self, loop):
        def fail():
            raise RuntimeError("no")

        bad, good = Busy(loop, "bad", 1), Busy(loop, "good", 1)
        bad.work = fail
        loop.slices.queue(bad)
        loop.slices.queue(good)
        loop.turn()
        assert bad.aborted
        assert not bad.queued
        assert good.log == ["good"]

    def test_work_that_is_caused_counts(self, loop):
        loop.slices.charge(SLICE_S)
        assert loop.slices.over()


class Wire:
    """A transport that keeps what is written, and whether its connection is read."""

    def __init__(self):
        self.written = b""
        self.reading, self.closing = True, False

    def write(self, data):
        self.written += data

    def writelines(self, pieces):
        self.written += b"".join(pieces)

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.closing = True

    abort = close

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name):
        return SimpleNamespace(fileno=lambda: 0)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def can_write_eof(self):
        return False


class Echo:
    """An app that answers with what it is sent."""

    cors = None
    access = Access()

    def __init__(self):
        self.asked = 0
        self.bodies = BodyBudget(1 << 30, LIMIT)

    async def __call__(self, scope, receive, send):
        self.asked += 1
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode() + body})


def make(kind, clock):
    """Return a connection over a wire, with slices of its own clock."""
    plane = SimpleNamespace(durations=ServerDurations(SeriesSet()))
    server = DirectServer(Echo(), plane, Listen(), LIMIT)
    loop = asyncio.get_running_loop()
    server.state = replace(server.state, slices=TimeSlices(loop.call_soon, clock))
    wire = Wire()
    return server, wire, connection(kind, server, wire)


def connection(kind, server, wire):
    shapes = server.shapes if kind is Http1 else server.shapes2
    return kind(server.state, wire, Peer(None, 0, server.state.access), shapes)


def opened(speaker):
    """The number of the last stream of an HTTP/2 client."""
    return speaker._streams.last if isinstance(speaker, Http2) else 0


START = [(":method", "POST"), (":scheme", "http"), (":authority", "v"), (":path", "/p")]
CALL = [*START[:3], (":path", "/inference.GRPCInferenceService/ModelInfer"),
        ("content-type", "application/grpc")]  # fmt: skip
OPEN = f.PREFACE + f.settings({})
CHUNKED = b"POST /p HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n"


def block(*extra):
    return Encoder().encode([*START, *extra])


def heads(count, *extra):
    return [f.frame(f.HEADERS, f.END_HEADERS, 2 * n + 1, block(*extra)) for n in range(count)]


def new_headers(*start):
    encoder = Encoder()
    for n in range(200):
        fields = [(f"x-{n}-{i}", "a value") for i in range(80)]
        yield f.frame(f.HEADERS, f.END_HEADERS, 2 * n + 1, encoder.encode([*start, *fields]))


def continued():
    for n in range(500):
        yield f.frame(f.HEADERS, 0, 2 * n + 1, block())
        yield from [f.frame(f.CONTINUATION, 0, 2 * n + 1, b"")] * 14
        yield f.frame(f.CONTINUATION, f.END_HEADERS, 2 * n + 1, b"")


# Made when they are asked for: to encode them takes longer than to collect a hundred files.
ATTACKS = {
    "chunks": (Http1, lambda: CHUNKED + b"1\r\nx\r\n" * 40_000),
    "chunks with extensions": (Http1, lambda: CHUNKED + b"1;a=b\r\nx\r\n" * 25_000),
    "trailers": (Http1, lambda: CHUNKED + b"0\r\n" + b"a:\r\n" * 4_000),
    "pipelined": (Http1, lambda: b"GET / HTTP/1.1\r\nHost: v\r\n\r\n" * 9_000),
    "pipelined refusals": (
        Http1,
        lambda: b"HEAD /a HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n" * 5_000,
    ),
    "data": (Http2, lambda: OPEN + heads(1)[0] + f.frame(f.DATA, 0, 1, b"x") * 19_000),
    "empty data": (Http2, lambda: OPEN + heads(1)[0] + f.frame(f.DATA, 0, 1, b"") * 19_000),
    "heads": (Http2, lambda: OPEN + b"".join(heads(1000, ("content-length", "1" * 18)))),
    "new headers": (Http2, lambda: OPEN + b"".join(new_headers(*START))),
    "new headers of calls": (Http2, lambda: OPEN + b"".join(new_headers(*CALL))),
    "continuations": (Http2, lambda: OPEN + b"".join(continued())),
    "pings": (Http2, lambda: OPEN + f.frame(f.PING, 0, 0, b"12345678") * 15_000),
    "settings": (Http2, lambda: OPEN + f.settings({}) * 190),
    "windows": (Http2, lambda: OPEN + f.window_update(0, 1) * 19_000),
    "priorities": (Http2, lambda: OPEN + f.frame(f.PRIORITY, 0, 1, b"12345") * 18_000),
    "resets": (Http2, lambda: OPEN + heads(1)[0] + f.reset(1, 8) * 1_900),
    "unknown": (Http2, lambda: OPEN + f.frame(77, 0, 0, b"") * 19_000),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_flood_is_worked_on_in_one_turn(attack):
    """The clock moves by half a slice with each look, so work is bounded by units, not by luck."""
    kind, made = ATTACKS[attack]
    data = made()
    looks = itertools.count()
    server, wire, speaker = make(kind, lambda: 1.0 + next(looks) * SLICE_S / 2)
    speaker.data_received(data[:READ])
    assert speaker.queued or (attack.startswith("pipelined") and speaker._answering)
    other_wire = Wire()
    other = connection(Http1, server, other_wire)
    other.data_received(b"GET /other HTTP/1.1\r\nHost: v\r\n\r\n")
    turns = 0
    while not other_wire.written:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 8, "another client waits"
    assert speaker._later
    assert len(data[:READ]) - speaker._later_size + speaker._at < READ / 2, "all of it is done"
    # A block of many new fields is a turn's work by itself.
    most = 3 if attack.startswith("new headers") else 2 * SAMPLE
    while speaker._later and not wire.closing:
        seen, asked, last = next(looks), server.state.app.asked, opened(speaker)
        await asyncio.sleep(0)
        assert next(looks) - seen < 16
        assert server.state.app.asked - asked <= most
        assert (opened(speaker) - last) // 2 <= most
    assert not speaker._full


async def test_pieces_of_a_body_do_not_wait_one_by_one():
    now = itertools.count()
    server, wire, speaker = make(Http1, lambda: 1.0 + next(now) * SLICE_S)
    speaker.data_received(b"POST /p HTTP/1.1\r\nHost: v\r\nContent-Length: 3000\r\n\r\nx")
    server.state.slices.over()
    server.state.slices.over()
    assert server.state.slices.closed
    for _ in range(2998):
        speaker.data_received(b"x")
        assert not speaker.queued
    speaker.data_received(b"x")
    assert speaker.queued  # now there is something to do
    while not done(speaker):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert wire.written.endswith(b"\r\n\r\n/p" + b"x" * 3000)


async def test_long_bodies_that_are_whole_wait_for_their_turn_as_well():
    now = itertools.count()
    server, wire, speaker = make(Http1, lambda: 1.0 + next(now) * SLICE_S)
    server.state.slices.over()
    server.state.slices.over()
    assert server.state.slices.closed
    head = speaker._heads.read(b"POST /p HTTP/1.1\r\nHost: v\r\nContent-Length: 4\r\n\r\n")
    speaker._begin_long(head, memoryview(b"body"))
    speaker.data_received(b"GET /next HTTP/1.1\r\nHost: v\r\n\r\n")
    assert not server.state.app.asked
    while not done(speaker):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert wire.written.index(b"/pbody") < wire.written.index(b"/next")


async def test_whoever_sends_faster_than_it_is_worked_on_is_not_read():
    now = itertools.count()
    _, wire, speaker = make(Http2, lambda: 1.0 + next(now) * SLICE_S)
    ping = f.frame(f.PING, 0, 0, b"12345678")
    speaker.data_received(OPEN + ping * 1_000)
    while wire.reading:
        assert speaker._later_size < MOST_AHEAD + READ
        speaker.data_received(ping * 1_000)
    while speaker._later:
        assert not wire.reading
        await asyncio.sleep(0)
    assert wire.reading
    assert wire.written.count(b"12345678") % 1_000 == 0


async def test_a_connection_that_ends_while_its_bytes_wait_is_not_worked_on():
    now = itertools.count()
    server, _, speaker = make(Http2, lambda: 1.0 + next(now) * SLICE_S)
    speaker.data_received(OPEN + b"".join(heads(200)))
    asked = len(speaker._streams.by_number)
    speaker.connection_lost(None)
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked <= SAMPLE
    assert server.state.app.asked <= asked
    assert not speaker._later
    assert not server.connections


async def test_time_in_which_bytes_wait_for_their_turn_is_not_the_client_s():
    now = itertools.count()
    server, wire, speaker = make(Http1, lambda: 1.0 + next(now) * SLICE_S)
    speaker.data_received(CHUNKED + b"1\r\nx\r\n" * 1_000)
    until, server.state.clock.elapsed_s = speaker.deadline, 30.0
    speaker.sweep(until + 20)
    assert not wire.written
    while speaker._later:  # noqa: ASYNC110
        await asyncio.sleep(0)
    speaker.sweep(until + 29)
    assert not wire.written
    speaker.sweep(until + 31)  # nothing waits, and the end of the body has not come
    assert wire.written.startswith(b"HTTP/1.1 408")


async def test_time_in_which_frames_wait_is_not_that_of_a_stream():
    now = itertools.count()
    server, _wire, speaker = make(Http2, lambda: 1.0 + next(now) * SLICE_S)
    data = f.frame(f.DATA, 0, 1, b"x")
    speaker.data_received(OPEN + heads(1)[0] + data * 1_000)
    until, server.state.clock.elapsed_s = speaker._streams.by_number[1].deadline, 30.0
    speaker.sweep(until + 20)
    while speaker._later:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert 1 in speaker._streams.by_number
    speaker.sweep(until + 29)
    assert 1 in speaker._streams.by_number
    speaker.sweep(until + 31)
    assert not speaker._streams.by_number


async def test_whoever_is_refused_may_read_why_even_if_it_was_slow_as_well():
    now = itertools.count()
    server, wire, speaker = make(Http1, lambda: 1.0 + next(now) * SLICE_S)
    speaker.data_received(CHUNKED + b"1\r\nx\r\n" * 100 + b"no chunk\r\n")
    server.state.clock.elapsed_s = 2.0
    speaker.deadline = server.state.clock.now - 1
    speaker.sweep(server.state.clock.now)
    while speaker._later:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert wire.written.startswith(b"HTTP/1.1 400")
    assert wire.written.count(b"HTTP/1.1 ") == 1
    assert not wire.closing  # at once: what it still sends would be answered with a reset


@pytest.mark.parametrize("kind", [Http1, Http2])
async def test_a_drain_while_bytes_wait_answers_or_refuses_them(kind):
    now = itertools.count()
    server, wire, speaker = make(kind, lambda: 1.0 + next(now) * SLICE_S)
    server.state.slices.over()
    server.state.slices.over()
    assert server.state.slices.closed
    asked = [("/a", b"body", True)]
    speaker.data_received(http1_bytes(asked) if kind is Http1 else http2_bytes(asked))
    speaker.stop()
    speaker.stopped()
    if kind is Http2:  # the client is told that nothing was looked at
        assert wire.written.endswith(f.goaway(0, f.NO_ERROR))
        return
    assert not wire.closing
    while not done(speaker):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert wire.written.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in wire.written


requests = st.lists(
    st.tuples(st.sampled_from(["/a", "/b/c"]), st.binary(max_size=60), st.booleans()),
    min_size=1, max_size=6,
)  # fmt: skip


def http1_bytes(asked):
    row = b""
    for path, body, chunked in asked:
        head = f"POST {path} HTTP/1.1\r\nHost: v\r\n".encode()
        if chunked:
            pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
            row += head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        else:
            row += head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return row


def http2_bytes(asked):
    encoder, row = Encoder(), OPEN
    for n, (path, body, small) in enumerate(asked):
        ident = 2 * n + 1
        row += f.frame(
            f.HEADERS, f.END_HEADERS, ident, encoder.encode([*START[:3], (":path", path)])
        )
        pieces = [bytes((byte,)) for byte in body] if small else [body]
        row += b"".join(f.frame(f.DATA, 0, ident, piece) for piece in pieces)
        row += f.frame(f.DATA, f.END_STREAM, ident, b"")
        row += f.frame(f.PING, 0, 0, b"%08d" % n)
    return row


def done(speaker):
    busy = speaker._streams.by_number if isinstance(speaker, Http2) else speaker._answering
    return not busy and not speaker._later and not speaker.queued


def expected1(asked):
    answers = b""
    for path, body, _ in asked:
        content = path.encode() + body
        answers += b"200 OK|%d|" % len(content) + content
    return answers


@given(
    requests,
    st.sampled_from([Http1, Http2]),
    st.lists(st.integers(0, 900), max_size=12),
    st.lists(st.sampled_from([0.0, 0.0, SLICE_S / 3, SLICE_S]), min_size=1, max_size=40),
    st.booleans(),
)
@settings(deadline=None)
def test_nothing_is_lost_or_reordered_wherever_slices_end(asked, kind, cuts, steps, half_closed):
    async def run():
        now, step = 1.0, itertools.cycle([*steps, SLICE_S])

        def clock():
            nonlocal now
            now += next(step)
            return now

        server, wire, speaker = make(kind, clock)
        server.state.slices.over()
        raw = http1_bytes(asked) if kind is Http1 else http2_bytes(asked)
        least = len(f.PREFACE) if kind is Http2 else 1  # until then it has no speaker
        places = sorted({0, len(raw), *(min(least + cut, len(raw)) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            while not wire.reading:  # noqa: ASYNC110
                await asyncio.sleep(0)
            # Every look at the clock is due: a slice may end after every unit of work.
            server.state.slices.spent = SAMPLE
            speaker.data_received(raw[start:end])
        if half_closed and kind is Http1:
            speaker._hung_up = lambda: False
            if not speaker.eof_received():
                wire.close()
        while not done(speaker):  # noqa: ASYNC110
            await asyncio.sleep(0)
        return wire, speaker

    wire, speaker = asyncio.run(run())
    assert not speaker._later
    if kind is Http2:
        pings, bodies = [], {}
        at = 0
        while at < len(wire.written):
            high, low, what, _, ident = f.read_head(wire.written, at)
            size = high << 8 | low
            payload = wire.written[at + 9 : at + 9 + size]
            at += 9 + size
            if what == f.PING:
                pings.append(int(payload))
            elif what == f.DATA:
                bodies[ident] = bodies.get(ident, b"") + payload
        assert pings == list(range(len(asked)))
        assert bodies == {
            2 * n + 1: path.encode() + body for n, (path, body, _) in enumerate(asked)
        }
        return
    answers, rest = b"", wire.written
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        (size,) = [int(line.split()[1]) for line in lines if line.startswith(b"content-length")]
        answers += b"%b|%d|%b" % (lines[0].removeprefix(b"HTTP/1.1 "), size, rest[:size])
        rest = rest[size:]
    assert answers == expected1(asked)
    assert wire.closing == half_closed


async def test_a_slice_that_ends_behind_a_refused_head_leaves_the_connection_its_idle_limit():
    now = itertools.count()
    server, wire, speaker = make(Http2, lambda: 1.0 + next(now) * SLICE_S)
    speaker.data_received(OPEN)
    server.state.slices.over()
    server.state.slices.spent = SAMPLE - 1
    refused = [*START[:3], (":path", "/a%2fb")]
    speaker.data_received(f.frame(f.HEADERS, f.END_HEADERS, 1, Encoder().encode(refused)))
    assert b"escaped slash" in wire.written
    assert not speaker._streams.by_number
    assert speaker.deadline == server.state.clock.idle_until
