"""A stream that the app answers: what the app receives, and which frames its answer becomes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from serving.errors import Overloaded
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http2.streams import AppStream, Gone
from serving.gateway.grpc.paths import LONG_LIVED
from serving.http2 import frames as f

DEADLINE = 5.0
OK = {"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"1")]}
OK_BLOCK = b"\x88" + f.literal(b"x-a", b"1")
TRAILERS = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}


class Carrier:
    """Keeps what a stream says; has room for all of an answer, or for none."""

    def __init__(self):
        self.said = []
        self.room = True

    def consumed(self, stream, size):
        self.said.append(("consumed", size))

    def answered(self, stream):
        self.said.append("answered")

    def write_block(self, ident, flags, block):
        self.said.append(("block", flags, block))

    def flush(self, stream):
        if self.room:
            while stream.waiting:
                self.said.append(("data", *stream.waiting.popleft()))
            stream.flushed()

    def finished(self, stream):
        self.said.append("finished")

    def reset(self, stream, code):
        self.said.append(("reset", code))


@pytest.fixture
def carrier():
    return Carrier()


async def waits_forever(_scope, _receive, _send):
    await asyncio.Event().wait()


@pytest.fixture
async def make(carrier):
    """Makes streams for an app, which without a name of its own does nothing."""
    made = []

    def make(app=waits_forever, path="/v2", method="POST"):
        head = SimpleNamespace(method=method, path=path, query=b"a", headers=[(b"host", b"v")])
        made.append(AppStream(app, carrier, 1, head, 100, DEADLINE, ("10.0.0.9", 7)))
        return made[-1]

    yield make
    for stream in made:
        stream.lost()
    await asyncio.sleep(0)


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def request(data, more):
    return {"type": "http.request", "body": data, "more_body": more}


async def settled():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_app_is_told_what_the_head_says(make):
    scopes = []

    async def app(scope, _receive, _send):
        scopes.append(scope)

    make(app)
    await settled()
    (scope,) = scopes
    asked = [scope[k] for k in ("http_version", "method", "path", "query_string", "headers")]
    assert asked == ["2", "POST", "/v2", b"a", [(b"host", b"v")]]
    assert scope["client"] == ("10.0.0.9", 7)


@pytest.mark.parametrize(("path", "endless"), [("/v2", False), *((p, True) for p in LONG_LIVED)])
async def test_only_a_long_stream_has_no_deadline(make, path, endless):
    stream = make(path=path)
    assert (stream.endless, stream.deadline) == (endless, NEVER if endless else DEADLINE)


class TestReceive:
    async def test_pieces_that_wait_come_as_one_and_are_given_back(self, make, carrier):
        stream = make()
        stream.feed(b"ab", end=False)
        stream.feed(b"c", end=False)
        assert await stream.receive() == request(b"abc", True)
        stream.feed(b"d", end=True)
        assert await stream.receive() == request(b"d", False)
        assert carrier.said == [("consumed", 3), ("consumed", 1)]
        assert (stream.total, stream.complete) == (4, True)

    @pytest.mark.parametrize("first", [b"", b"ab"])
    async def test_an_empty_end_is_told_once(self, make, first):
        stream = make()
        if first:
            stream.feed(first, end=False)
            assert await stream.receive() == request(first, True)
        stream.feed(b"", end=True)
        assert await stream.receive() == request(b"", False)
        later = asyncio.create_task(stream.receive())
        await settled()
        assert not later.done()
        stream.lost()
        assert await later == {"type": "http.disconnect"}

    async def test_it_waits_for_what_comes(self, make):
        stream = make()
        waiting = asyncio.create_task(stream.receive())
        await settled()
        stream.feed(b"", end=False)  # nothing has come
        await settled()
        assert not waiting.done()
        stream.feed(b"x", end=False)
        assert await waiting == request(b"x", True)

    @pytest.mark.parametrize("end", [False, True])
    async def test_a_refusal_is_told_behind_what_came_before(self, make, end):
        stream = make()
        stream.feed(b"ab", end=False)
        stream.refuse(end=end)
        assert await stream.receive() == request(b"ab", True)
        with pytest.raises(Overloaded):
            await stream.receive()
        assert stream.complete == end

    async def test_what_the_app_did_not_take_is_told_once(self, make):
        stream = make()
        stream.feed(b"abc", end=False)
        assert (stream.dropped(), stream.dropped()) == (3, 0)
        assert await stream.receive() == {"type": "http.disconnect"}


class TestSend:
    @pytest.mark.parametrize("path", ["/v2", LONG_LIVED[0]])
    async def test_the_head_goes_with_the_first_of_the_body(self, make, carrier, path):
        stream = make(path=path)
        await stream.send(OK)
        assert (carrier.said, stream.begun) == ([], False)
        await stream.send(body(b"a", more=True))
        await stream.send(body(b"", more=True))  # nothing to say
        await stream.send(body(b"b"))
        # A long stream goes on to hold its messages, of which each is answered by itself.
        answered = ["answered"] if path == "/v2" else []
        assert carrier.said == [
            *answered, ("block", 0, OK_BLOCK), ("data", b"a", False), ("data", b"b", True),
            "finished",
        ]  # fmt: skip
        assert stream.begun

    async def test_the_head_can_go_before_there_is_a_body(self, make, carrier):
        stream = make()
        await stream.send(OK)
        await stream.send(body(more=True))
        assert carrier.said == ["answered", ("block", 0, OK_BLOCK)]

    @pytest.mark.parametrize(("method", "data"), [("POST", b""), ("HEAD", b"left out")])
    async def test_without_a_body_the_head_is_the_end(self, make, carrier, method, data):
        stream = make(method=method)
        await stream.send(OK)
        await stream.send(body(data))
        assert carrier.said == ["answered", ("block", f.END_STREAM, OK_BLOCK), "finished"]

    async def test_any_other_status_is_written_out(self, make, carrier):
        stream = make()
        await stream.send({"type": "http.response.start", "status": 404})
        await stream.send(body())
        assert carrier.said[1] == ("block", f.END_STREAM, f.literal(b":status", b"404"))

    @pytest.mark.parametrize("data", [b"", b"x"])
    async def test_with_trailers_these_are_the_end(self, make, carrier, data):
        stream = make()
        await stream.send({**OK, "trailers": True})
        await stream.send(body(data))
        await stream.send(TRAILERS)
        pieces = [("data", data, False)] if data else []
        assert carrier.said == [
            "answered", ("block", 0, OK_BLOCK), *pieces,
            ("block", f.END_STREAM, f.literal(b"grpc-status", b"0")), "finished",
        ]  # fmt: skip

    async def test_a_client_without_room_holds_the_app_up(self, make, carrier):
        stream, carrier.room = make(), False
        await stream.send(OK)
        sending = asyncio.create_task(stream.send(body(b"x")))
        await settled()
        assert not sending.done()
        assert "finished" not in carrier.said
        carrier.room = True
        carrier.flush(stream)
        await sending
        assert carrier.said[-2:] == [("data", b"x", True), "finished"]

    async def test_room_for_one_piece_is_none_for_the_next(self, make, carrier):
        stream = make()
        await stream.send(OK)
        await stream.send(body(b"a", more=True))
        carrier.room = False
        sending = asyncio.create_task(stream.send(body(b"b")))
        await settled()
        assert not sending.done()
        carrier.room = True
        carrier.flush(stream)
        await sending

    async def test_who_waits_for_room_learns_that_the_client_is_gone(self, make, carrier):
        stream, carrier.room = make(), False
        await stream.send(OK)
        sending = asyncio.create_task(stream.send(body(b"x")))
        await settled()
        stream.lost()
        with pytest.raises(Gone):
            await sending
        assert not stream.waiting
        with pytest.raises(Gone):
            await stream.send(body(b"y"))


class TestTheApp:
    @pytest.mark.parametrize(
        ("error", "logged"), [(None, False), (Gone("x"), False), (RuntimeError("a secret"), True)]
    )
    async def test_however_it_ends_the_stream_ends(self, make, carrier, caplog, error, logged):
        async def app(_scope, _receive, _send):
            if error is not None:
                raise error

        make(app)
        await settled()
        assert carrier.said == [("reset", f.INTERNAL_ERROR)]
        assert ("could not be answered" in caplog.text) == logged

    async def test_it_is_cancelled_when_the_client_goes(self, make):
        ended = asyncio.Event()

        async def app(_scope, _receive, _send):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        stream = make(app)
        await settled()
        stream.lost()
        stream.lost()  # a second time there is nothing to cancel
        await settled()
        assert ended.is_set()
