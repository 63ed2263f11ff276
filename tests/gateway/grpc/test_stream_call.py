"""A streaming call by itself: what its method sees, and the status with which it ends."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.errors import Forbidden, InvalidInput, ModelNotReady
from serving.gateway.asgi_types import Exchange
from serving.gateway.body_budget import BodyBudget, Share
from serving.gateway.grpc.frames import Disconnected, frame
from serving.gateway.grpc.stream_call import (
    StreamCall,
    StreamMethod,
    cancel_all,
    run_unless,
    serve_stream,
    stopping,
)
from serving.protocol.pb import open_inference_pb2 as pb

MESSAGE = pb.ServerLiveResponse(live=True)


class Client:
    """One call: what the client says, and all that the app sends."""

    def __init__(self, *says: bytes, **headers: str) -> None:
        self.sent: list[Any] = []
        self.gone = False
        more = [{"type": "http.request", "body": body, "more_body": True} for body in says]
        self._says = [*more, {"type": "http.request", "body": b"", "more_body": False}]
        self.exchange = Exchange(
            {"path": "/s/M", "client": ("10.0.0.7", 1)},
            {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()},
            self.receive,
            self.send,
            Share(BodyBudget(1 << 20, 1 << 20), counted=False),
        )

    async def receive(self) -> Any:
        return self._says.pop(0) if self._says else {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.gone:
            raise OSError("as a server would have it")
        self.sent.append(dict(message))

    async def call(self, answer: Any, access: Access | None = None, max_body: int = 100) -> None:
        method = StreamMethod(answer, Scope.INFER)
        plane: Any = SimpleNamespace()
        principal = Principal("anna")
        await serve_stream(method, plane, access or Access(), max_body, self.exchange, principal)

    def status(self) -> tuple[int, str]:
        assert self.sent[-1]["type"] == "http.response.trailers"
        trailers = dict(self.sent[-1]["headers"])
        return int(trailers[b"grpc-status"]), unquote(trailers.get(b"grpc-message", b"").decode())


async def nothing(_call: StreamCall) -> None:
    pass


async def test_headers_leave_before_the_method_begins() -> None:
    client, begun = Client(), []

    async def answer(_call: StreamCall) -> None:
        begun.extend(client.sent)

    await client.call(answer)
    start, piece = begun
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert piece == {"type": "http.response.body", "body": b"", "more_body": True}
    assert client.status() == (0, "")


async def test_a_method_sees_who_calls_until_when_and_reads_all_messages() -> None:
    client, seen = (
        Client(frame(b"one") + frame(b"two")[:3], frame(b"two")[3:], grpc_timeout="9S"),
        [],
    )

    async def answer(call: StreamCall) -> None:
        seen.append(call)
        seen.extend([message async for message in call.messages()])

    before = time.monotonic()
    await client.call(answer)
    call, *messages = seen
    assert (call.context.principal.name, call.context.client) == ("anna", "10.0.0.7")
    assert before + 9 <= call.context.deadline <= time.monotonic() + 9
    assert call.share is client.exchange.share
    assert messages == [b"one", b"two"]


async def test_the_one_message_of_a_client_that_sends_no_stream() -> None:
    client, seen = Client(frame(b"one")), []

    async def answer(call: StreamCall) -> None:
        seen.append(await call.message())
        await call.disconnected()

    await client.call(answer)
    assert seen == [b"one"]
    assert client.status() == (0, "")


@pytest.mark.parametrize("reads", ["message", "messages"])
async def test_messages_have_the_app_s_limit(reads: str) -> None:
    async def answer(call: StreamCall) -> None:
        if reads == "message":
            await call.message()
        else:
            _ = [message async for message in call.messages()]

    fits, over = Client(frame(bytes(9))), Client(frame(bytes(10)))
    await fits.call(answer, max_body=9)
    await over.call(answer, max_body=9)
    assert (fits.status()[0], over.status()[0]) == (0, 8)


async def test_a_message_is_sent_as_one_piece_and_more_may_follow() -> None:
    client = Client()
    await client.call(lambda call: call.send(MESSAGE))
    assert client.sent[2] == {
        "type": "http.response.body",
        "body": frame(MESSAGE.SerializeToString()),
        "more_body": True,
    }


async def test_a_client_that_is_gone_gets_no_status() -> None:
    client = Client()

    async def answer(call: StreamCall) -> None:
        client.gone = True
        with pytest.raises(Disconnected):
            await call.send(MESSAGE)
        await call.send(MESSAGE)

    await client.call(answer)
    assert len(client.sent) == 2


async def test_a_model_is_asked_for_with_the_method_s_scope_and_the_caller() -> None:
    asked: list[Any] = []

    class Deciding(Access):
        def decide(self, scope: Any, model: str, principal: Principal, *_: Any) -> Any:
            asked.append((scope, model, principal.name))
            return Forbidden("not you") if model == "secret" else None

    async def answer(call: StreamCall) -> None:
        call.require("open")
        call.require("secret")
        raise AssertionError("it was refused")

    client = Client()
    await client.call(answer, Deciding())
    assert asked == [(Scope.INFER, "open", "anna"), (Scope.INFER, "secret", "anna")]
    assert client.status() == (7, "not you")


# -- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (InvalidInput("wrong"), (3, "wrong")),
        (stopping(), (14, "the gateway is stopping; open a new stream")),
        (RuntimeError("secret"), (13, "internal error; see the server's log")),
        (TimeoutError("of its own"), (13, "internal error; see the server's log")),
    ],
)
async def test_what_a_method_raises_is_a_status(
    raised: Exception, status: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(_call: StreamCall) -> None:
        raise raised

    client = Client()
    await client.call(answer)
    assert client.status() == status
    assert ("a gRPC stream could not be answered" in caplog.text) == (status[0] == 13)


@pytest.mark.parametrize(("allowed", "code"), [("0m", 4), ("1m", 4), ("soon", 3)])
async def test_the_deadline_is_the_whole_call_s(allowed: str, code: int) -> None:
    client = Client(grpc_timeout=allowed)
    async with asyncio.timeout(60):
        await client.call(lambda _call: asyncio.Event().wait())
    assert client.status()[0] == code
    if code == 4:
        assert client.status()[1] == "the deadline of the stream passed; allow more time"


async def test_a_call_that_is_cancelled_is_cancelled() -> None:
    client = Client()
    call = asyncio.create_task(client.call(lambda _call: asyncio.Event().wait()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(client.sent) == 2


def test_streams_end_for_a_while_only() -> None:
    assert isinstance(stopping(), ModelNotReady)


# -- work that something else may end ---------------------------------------------------------


async def forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def test_work_that_is_done_ends_the_wait() -> None:
    ended: list[str] = []
    assert await run_unless(forever(ended, "end"), asyncio.sleep(0))
    await asyncio.sleep(0)
    assert ended == ["end"]


async def test_the_end_cancels_the_work() -> None:
    ended: list[str] = []
    assert not await run_unless(asyncio.sleep(0), forever(ended, "work"))
    await asyncio.sleep(0)
    assert ended == ["work"]


async def test_what_the_work_raises_passes_on() -> None:
    async def work() -> None:
        raise InvalidInput("wrong")

    ended: list[str] = []
    with pytest.raises(InvalidInput):
        await run_unless(forever(ended, "end"), work())
    await asyncio.sleep(0)
    assert ended == ["end"]


async def test_whoever_waits_and_is_cancelled_ends_both() -> None:
    ended: list[str] = []
    task = asyncio.create_task(run_unless(forever(ended, "end"), forever(ended, "work")))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert sorted(ended) == ["end", "work"]


async def test_cancelled_tasks_are_held_by_nobody() -> None:
    async def work() -> None:
        raise InvalidInput("wrong")

    tasks = [asyncio.ensure_future(work()), asyncio.ensure_future(asyncio.Event().wait())]
    await asyncio.wait(tasks[:1])
    assert isinstance(tasks[0].exception(), InvalidInput)
    waiting = tasks[1]
    cancel_all(tasks)
    assert tasks == []
    with pytest.raises(asyncio.CancelledError):
        await waiting
