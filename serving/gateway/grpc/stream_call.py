"""A streaming gRPC call over ASGI: its messages in both directions, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from google.protobuf.message import Message

from serving import errors
from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi_types import Exchange
from serving.gateway.context import context_of
from serving.gateway.grpc.frames import (
    OK,
    Disconnected,
    answer_headers,
    call_options,
    packed_frame,
    read_message,
    read_messages,
    send_end,
    send_start,
)
from serving.gateway.grpc.replies import error_trailers
from serving.gateway.internal_errors import client_error


class StreamCall:
    """What a streaming method sees of its call.

    Attributes:
        plane: the data plane to answer from.
        context: what the call came with; its deadline is the whole call's.
        share: what its messages hold; a method gives back the length of each that it is done with.
    """

    def __init__(
        self,
        plane: DataPlane,
        access: Access,
        asked: Scope,
        principal: Principal,
        max_body: int,
        answer_encoding: str,
        exchange: Exchange,
    ) -> None:
        self.plane = plane
        self.share = exchange.share
        self._access = access
        self._asked = asked
        self._answer_encoding = answer_encoding
        timeout_s, self._encoding = call_options(exchange.headers)
        self.context = context_of(principal, exchange.scope, exchange.headers, timeout_s=timeout_s)
        self._max_body = max_body
        self._receive = exchange.receive
        self._send = exchange.send

    def require(self, model: str) -> None:
        """Refuse what a message asks of a model, if whoever calls may not ask it.

        Raises:
            VigilError: it is refused.
        """
        refused = self._access.decide(self._asked, model, self.context.principal)
        if refused is not None:
            raise refused

    async def message(self) -> bytes:
        """Return the one message of a client that sends no stream; see `read_message`."""
        return await read_message(self._max_body, self._encoding, self._receive, self.share)

    def messages(self) -> AsyncIterator[bytes]:
        """Return the client's messages, each as soon as it is whole; see `read_messages`."""
        return read_messages(self._max_body, self._encoding, self._receive, self.share)

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            Disconnected: the client went away.
        """
        body = await packed_frame(message, self._answer_encoding)
        try:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except Exception:  # noqa: BLE001 - each server has its own for a client that is gone
            raise Disconnected from None

    async def disconnected(self) -> None:
        """Return once the client is gone; only after its last message has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class StreamMethod(msgspec.Struct, frozen=True):
    """A method that streams: a coroutine that answers a call, and what it lets ask for."""

    answer: Callable[[StreamCall], Awaitable[None]]
    scope: Scope


async def serve_stream(
    method: StreamMethod,
    plane: DataPlane,
    access: Access,
    max_body: int,
    exchange: Exchange,
    principal: Principal,
) -> None:
    """Answer a streaming call: whatever goes wrong, and its deadline, becomes a gRPC status."""
    send = exchange.send
    answer, encoding = answer_headers(exchange.headers)
    await send_start(send, answer)
    # Headers leave with the first piece of the body, and until they have left the server counts
    # the call as a request that comes too slowly.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    trailers = OK
    limit: asyncio.Timeout | None = None
    try:
        call = StreamCall(plane, access, method.scope, principal, max_body, encoding, exchange)
        limit = asyncio.timeout(call.context.time_left(time.monotonic()))
        async with limit:
            await method.answer(call)
    except Disconnected:
        return
    except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
        if limit is not None and limit.expired() and isinstance(error, TimeoutError):
            late = "the deadline of the stream passed; allow more time"
            trailers = error_trailers(errors.DeadlineExceeded(late))
        else:  # a method may meet a TimeoutError of its own
            said = "a gRPC stream could not be answered"
            trailers = error_trailers(client_error(error, said, path=exchange.scope["path"]))
    finally:
        limit = None  # it knows this task, and the frames of a cancelled one would know it
    await send_end(send, trailers)


def stopping() -> errors.ModelNotReady:
    """Return the error that ends streams when the gateway drains."""
    return errors.ModelNotReady("the gateway is stopping; open a new stream")


async def run_unless(end: Coroutine[None, None, object], work: Coroutine[None, None, None]) -> bool:
    """Run `work` until it is done, or `end` is; return whether it was `work`."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(end)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        worked = tasks[0].done()
        if worked:
            await tasks[0]
        return worked
    finally:
        cancel_all(tasks)


def cancel_all(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and empty the list.

    The error that one of them ends with may pass on through a frame that has the list: it would
    hold the frame, and the frame the task that holds the error.
    """
    for task in tasks:
        task.cancel()
    tasks.clear()
