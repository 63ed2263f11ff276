"""One request from its whole body to its answer: charged, kept waiting, answered, given up."""

from __future__ import annotations

import asyncio
import gzip
from types import SimpleNamespace

import pytest

from serving.access.decision import Access
from serving.dataplane.hooks.server_durations import ServerDurations
from serving.errors import Forbidden, ModelNotReady
from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct import inference
from serving.gateway.direct.http1.exchange import Exchange, header_lines
from serving.gateway.direct.known_heads import Head, InferHead, Steady
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.time_slices import CALL_UNITS, TASK_S
from serving.gateway.http.compression import WORTH_IT
from serving.gateway.internal_errors import INTERNAL_ERROR
from serving.telemetry.counters import SeriesSet


class Backlog:
    """Lets requests wait if it is `full`."""

    full, kept, cancelled, asked = False, True, False, 0

    def place(self, *_asked):
        self.asked += 1
        return SimpleNamespace(kept=self.kept, cancel=self.cancel) if self.full else None

    def cancel(self):
        self.cancelled = True

    def wait(self, _waiter, _owner, resume):
        self.resume = resume

    def refuse(self, _waiter):
        return ModelNotReady("waited in vain")


@pytest.fixture
async def made():
    """An exchange, the answers it gives, and what stands beside it."""
    made = SimpleNamespace(answers=[], charges=[], app=None)

    async def app(scope, receive, send):
        await made.app(scope, receive, send)

    made.state = SimpleNamespace(
        app=app,
        access=SimpleNamespace(decide=lambda *_: Forbidden("not for you")),
        plane=SimpleNamespace(crowded=False),
        bodies=BodyBudget(20_000, 100),
        slices=SimpleNamespace(spent=0, charge=made.charges.append),
        backlog=Backlog(),
        durations=ServerDurations(SeriesSet()),
    )
    peer = Peer(("10.0.0.9", 7), 0, Access())
    made.exchange = Exchange(made.state, None, peer, lambda *answer: made.answers.append(answer))
    yield made
    made.exchange.lost()
    await asyncio.sleep(0)


def head(method="GET", infer=None, headers=()):
    return Head(Steady(method, "/v2", b"a", "1.0", list(headers)), [], 0, True, False, "", infer)


INFER = InferHead("m", "", None, None, False)


def answers_with(status, headers, body):
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def settled():
    for _ in range(3):
        await asyncio.sleep(0)


def test_header_lines_are_those_that_are_sent():
    assert header_lines([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"
    assert header_lines([]) == b""


class TestBegin:
    @pytest.mark.parametrize(("left", "fits"), [(9, True), (8, False)])
    async def test_a_body_needs_room(self, made, left, fits):
        made.state.bodies.held = before = made.state.bodies.most - left
        made.exchange.begin(head("POST", INFER), b"x" * 9)
        assert made.exchange.charged == (9 if fits else 0)
        assert made.state.bodies.held == before + made.exchange.charged
        ((status, _, body, _),) = made.answers
        assert status == (403 if fits else 503)
        assert (b"listen.max_inflight_mib" in body) != fits

    async def test_what_has_been_charged_is_not_charged_again(self, made):
        made.exchange.charged = made.state.bodies.held = 50
        made.exchange.begin(head("POST", INFER), b"x" * 9)
        assert made.state.bodies.held == 50


class TestWaiting:
    @pytest.fixture(autouse=True)
    def full(self, made):
        made.state.plane.crowded = made.state.backlog.full = True

    @pytest.mark.parametrize(("room", "told"), [(True, b"not for you"), (False, b"in vain")])
    async def test_a_request_for_a_full_queue_waits_unread(self, made, room, told):
        made.exchange.begin(head("POST", INFER), b"x" * 8192)
        assert made.answers == []
        made.state.backlog.resume(room)
        ((_, _, body, _),) = made.answers
        assert told in body
        assert made.state.slices.spent == CALL_UNITS + 2

    async def test_a_body_that_is_not_kept_costs_nothing_later(self, made):
        made.state.backlog.kept = False
        made.exchange.begin(head("POST", INFER), b"x" * 8192)
        made.state.backlog.resume(False)
        assert made.state.slices.spent == CALL_UNITS

    async def test_whoever_leaves_waits_no_longer(self, made):
        made.exchange.begin(head("POST", INFER), b"x" * 9)
        made.exchange.lost()
        assert made.state.backlog.cancelled
        assert (made.exchange.charged, made.state.bodies.held) == (0, 0)

    async def test_a_queue_with_room_is_not_asked(self, made):
        made.state.plane.crowded = False
        made.exchange.begin(head("POST", INFER), b"x")
        assert made.state.backlog.asked == 0
        assert len(made.answers) == 1


class Ticket:
    """An inference that is done when a test says so."""

    endpoint, request = SimpleNamespace(name="m", version="1"), SimpleNamespace(id="q")
    item = SimpleNamespace()
    cancelled = 0

    def then(self, done):
        self.done = done

    def cancel(self):
        self.cancelled += 1


LINES = b"content-type: application/json\r\n"
LONG = b"x" * WORTH_IT


class TestInference:
    @pytest.fixture
    def ticket(self, monkeypatch):
        ticket = Ticket()
        monkeypatch.setattr(inference, "begin", lambda *_: ticket)
        return ticket

    @pytest.fixture
    def answer(self, monkeypatch):
        """Says what an answer is made of."""

        def answer(body, *binary, error=None):
            def answered(*_):
                if error is not None:
                    raise error
                return LINES, body, binary

            monkeypatch.setattr(inference, "answer", answered)

        return answer

    def likes(self, accepted, packs=True):
        quick = InferHead("m", "", None, None, packs)
        return head("POST", quick, [(b"accept-encoding", accepted)])

    async def test_it_is_answered_when_it_is_done(self, made, ticket, answer):
        answer(b"the answer")
        made.exchange.begin(head("POST", INFER), b"x")
        assert made.answers == []
        ticket.done()
        assert made.answers == [(200, LINES, b"the answer", None)]
        made.exchange.lost()
        assert ticket.cancelled == 0

    async def test_whoever_leaves_before_cancels_it_once(self, made, ticket, answer):
        answer(b"the answer")
        made.exchange.begin(head("POST", INFER), b"x")
        made.exchange.lost()
        made.exchange.lost()
        assert ticket.cancelled == 1

    @pytest.mark.parametrize(
        ("error", "status", "told"),
        [
            (Forbidden("no"), 403, b"no"),
            (RuntimeError("a secret"), 500, INTERNAL_ERROR.encode()),
        ],
    )
    async def test_an_answer_that_cannot_be_written(
        self, made, ticket, answer, caplog, error, status, told
    ):
        answer(b"", error=error)
        made.exchange.begin(head("POST", INFER), b"x")
        ticket.done()
        ((code, _, body, _),) = made.answers
        assert (code, told in body, b"secret" in body) == (status, True, False)
        assert ("an answer could not be written" in caplog.text) == (status == 500)

    async def test_it_is_packed_for_whoever_likes_that_better(self, made, ticket, answer):
        answer(LONG)
        made.exchange.begin(self.likes(b"gzip"), b"x")
        ticket.done()
        assert made.answers == []
        await settled()
        ((status, lines, body, size),) = made.answers
        more = b"vary: accept-encoding\r\ncontent-encoding: gzip\r\n"
        assert (status, lines, size) == (200, LINES + more, None)
        assert gzip.decompress(body) == LONG

    @pytest.mark.parametrize(
        ("packs", "body", "binary"),
        [
            (False, LONG, ()),
            (True, LONG[1:], ()),
            (True, LONG, [SimpleNamespace(datatype="FP32", shape=(WORTH_IT // 8,))]),
        ],
    )
    async def test_what_does_not_pay_is_answered_plain_and_at_once(
        self, made, ticket, answer, packs, body, binary
    ):
        answer(body, *binary)
        made.exchange.begin(self.likes(b"gzip", packs), b"x")
        ticket.done()
        assert made.answers == [(200, LINES, body, None)]

    async def test_whoever_leaves_while_it_is_packed_is_not_answered(self, made, ticket, answer):
        answer(LONG)
        made.exchange.begin(self.likes(b"gzip"), b"x")
        ticket.done()
        made.exchange.lost()
        await settled()
        assert made.answers == []


class TestTheApp:
    async def test_it_is_told_what_the_head_says_and_costs_a_task(self, made):
        seen = []

        async def app(scope, receive, _send):
            seen.append((scope["http_version"], scope["path"], scope["client"]))
            seen.append(await receive())

        made.app = app
        made.exchange.begin(head(), memoryview(b"abc"))
        await settled()
        body = {"type": "http.request", "body": b"abc", "more_body": False}
        assert seen == [("1.0", "/v2", ("10.0.0.9", 7)), body]
        assert made.charges == [TASK_S]

    async def test_its_content_length_is_left_out(self, made):
        made.app = answers_with(200, [(b"content-length", b"9"), (b"a", b"1")], b"body")
        made.exchange.begin(head(), b"")
        await settled()
        assert made.answers == [(200, b"a: 1\r\n", b"body", None)]

    @pytest.mark.parametrize(("method", "size"), [("HEAD", 9), ("GET", None)])
    async def test_for_head_it_says_what_the_body_would_have_been(self, made, method, size):
        made.app = answers_with(200, [(b"content-length", b"9")], b"")
        made.exchange.begin(head(method), b"")
        await settled()
        assert made.answers == [(200, b"", b"", size)]

    @pytest.mark.parametrize("bad", [b"1\r\nb: 2", b"1\n", b"1\r", b"\n"])
    @pytest.mark.parametrize("at", [0, 1])
    async def test_a_header_with_a_line_end_drops_the_answer(self, made, caplog, bad, at):
        field = (bad, b"x") if at == 0 else (b"a", bad)
        made.app = answers_with(200, [field], b"a secret")
        made.exchange.begin(head(), b"")
        await settled()
        ((status, lines, body, _),) = made.answers
        assert (status, lines.count(b"\n")) == (500, 1)
        assert INTERNAL_ERROR.encode() in body
        assert "an answer was dropped" in caplog.text

    @pytest.mark.parametrize("error", [None, RuntimeError("a secret"), Forbidden("no")])
    async def test_without_an_answer_the_client_gets_one(self, made, error):
        async def app(_scope, _receive, _send):
            if error is not None:
                raise error

        made.app = app
        made.exchange.begin(head(), b"")
        await settled()
        ((status, _, body, _),) = made.answers
        assert status == (403 if isinstance(error, Forbidden) else 500)
        assert b"secret" not in body

    async def test_an_error_behind_the_answer_is_no_second_one(self, made):
        answered = answers_with(200, [], b"x")

        async def app(scope, receive, send):
            await answered(scope, receive, send)
            raise RuntimeError("late")

        made.app = app
        made.exchange.begin(head(), b"")
        await settled()
        assert [answer[0] for answer in made.answers] == [200]

    async def test_whoever_leaves_is_not_answered(self, made):
        ended = asyncio.Event()

        async def app(_scope, _receive, _send):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        made.app = app
        made.exchange.begin(head(), b"x")
        await settled()
        made.exchange.lost()
        made.exchange.fail(Forbidden("no"), None)
        await settled()
        assert ended.is_set()
        assert (made.answers, made.state.bodies.held) == ([], 0)
