"""Streams of HTTP/2 that the ASGI app answers: everything but plain ModelInfer calls."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from serving.gateway.body_budget import overloaded
from serving.gateway.direct.asgi_call import App, Message, Scope, make_scope
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.known_heads import Head2
from serving.gateway.grpc.paths import LONG_LIVED
from serving.http2 import frames as f
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Gone(OSError):
    """The client has reset the stream, or the connection is gone."""


class Carrier(Protocol):
    """What a stream asks of its connection."""

    def consumed(self, stream: AppStream, size: int) -> None:
        """The app has taken `size` bytes of the stream's body."""

    def answered(self, stream: AppStream) -> None:
        """The answer begins: the body is not needed any more, however slowly that is read."""

    def write_block(self, ident: int, flags: int, block: bytes) -> None:
        """Write a header block of the answer."""

    def flush(self, stream: AppStream) -> None:
        """Write what waits, as far as the client has made room."""

    def finished(self, stream: AppStream) -> None:
        """The app has ended its answer."""

    def reset(self, stream: AppStream, code: int) -> None:
        """End the stream without the rest of the answer, if it has not ended."""


class AppStream:
    """One stream between its connection and the app: pieces of body in, pieces of answer out.

    Args:
        app: answers it.
        carrier: the open streams of its connection.
        ident: its number.
        head: what its headers say.
        window: bytes that its client takes on it.
        deadline: when its body must be here.
        client: address and port of whoever asks.
    """

    def __init__(
        self,
        app: App,
        carrier: Carrier,
        ident: int,
        head: Head2,
        window: int,
        deadline: float,
        client: tuple[str, int],
    ) -> None:
        self.ident = ident
        self.head = head
        self.window = window
        """What the client still takes on this stream; the connection has a bound of its own."""
        self.waiting: deque[tuple[bytes | memoryview, bool]] = deque()
        """Pieces of DATA that did not fit into a window, and whether each ends the stream."""
        self._app = app
        self._carrier = carrier
        self._pieces = BodyBuffer()
        self._pending = 0
        self._whole = False
        self.refused = False
        """Whether nothing more is taken, because all bodies together are too long."""
        self._told_end = False
        self._gone = False
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._trailers_follow = False
        self._started: list[tuple[bytes, bytes]] | None = None
        self._status = 0
        self.begun = False
        self.endless = head.path in LONG_LIVED
        """A stream of messages rather than one body: the limit is each message's."""
        self.received = 0
        self.charged = 0
        self.total = 0
        self.unacknowledged = 0
        # A client may keep a stream open and send nothing.
        self.deadline = NEVER if self.endless else deadline
        self.stuck = NEVER
        scope = make_scope(
            head.method,
            head.path,
            head.query,
            head.headers,
            "2",
            client,
        )
        task = asyncio.get_running_loop().create_task(self._run(scope))
        self._task: asyncio.Task[None] | None = task

    # -- from the client ----------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the client has ended its side."""
        return self._whole

    def feed(self, data: bytes, end: bool) -> None:
        """Take a piece of the body."""
        if data:
            self._pieces.add(data)
            self._pending += len(data)
            self.total += len(data)
        self._whole = self._whole or end
        self._woken.set()

    def refuse(self, *, end: bool) -> None:
        """Take nothing more of a stream; the app is told so behind what it has not taken yet."""
        self.refused = True
        self.feed(b"", end)

    def dropped(self) -> int:
        """Take no more; return how many bytes the app has not taken, and never will."""
        pending, self._pending = self._pending, 0
        self._gone = True
        self._pieces = BodyBuffer()
        return pending

    def lost(self) -> None:
        """The client has gone, or has reset the stream."""
        self._gone = True
        self.waiting.clear()
        self._woken.set()
        self._room.set()
        # A cancelled task keeps its error, whose frames hold this stream and the body.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def receive(self) -> Message:
        """ASGI's receive.

        Raises:
            Overloaded: the rest of a stream finds no room.
        """
        while not self._gone:
            if self._pending or (self._whole and not self._told_end and not self.refused):
                body = self._pieces.join()
                self._pieces, self._pending = BodyBuffer(), 0
                self._told_end = self._whole and not self.refused
                self._carrier.consumed(self, len(body))
                return {"type": "http.request", "body": body, "more_body": not self._told_end}
            if self.refused:
                raise overloaded()
            self._woken.clear()
            await self._woken.wait()
        return {"type": "http.disconnect"}

    # -- to the client ------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        if self._gone:
            raise Gone("the client is gone")
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._started = list(message.get("headers", ()))
            self._trailers_follow = bool(message.get("trailers"))
        elif kind == "http.response.body":
            body, more = message.get("body", b""), bool(message.get("more_body"))
            if self.head.method == "HEAD":
                body = b""
            end = not more and not self._trailers_follow
            if self._started is not None:
                self._write_head(end and not body)
                if end and not body:
                    self._carrier.finished(self)
                    return
            if body or end:
                await self._write_body(body, end)
        elif kind == "http.response.trailers":
            block = b"".join(f.literal(k, v) for k, v in message["headers"])
            await self._drained()
            self._carrier.write_block(self.ident, f.END_STREAM, block)
            self._carrier.finished(self)

    def _write_head(self, end: bool) -> None:
        status = b"\x88" if self._status == 200 else f.literal(b":status", b"%d" % self._status)
        assert self._started is not None
        block = status + b"".join(f.literal(k.lower(), v) for k, v in self._started)
        self._started = None
        self.begun = True
        if not self.endless:
            self._carrier.answered(self)
        self._carrier.write_block(self.ident, f.END_STREAM if end else 0, block)

    async def _write_body(self, body: bytes, end: bool) -> None:
        self.waiting.append((body, end))
        self._carrier.flush(self)
        await self._drained()
        if end:
            self._carrier.finished(self)

    async def _drained(self) -> None:
        """Wait until the client has made room for all that was written."""
        while self.waiting:
            if self._gone:
                raise Gone("the client is gone")
            self._room.clear()
            await self._room.wait()
        if self._gone:
            raise Gone("the client is gone")

    def flushed(self) -> None:
        """Everything that waited has been written."""
        self._room.set()

    async def _run(self, scope: Scope) -> None:
        try:
            await self._app(scope, self.receive, self.send)
        except Gone:
            pass
        except Exception as error:  # noqa: BLE001 - the app answers its own errors; this is the last resort
            said = "a request could not be answered"
            report(Event.INTERNAL_ERROR, said, path=scope["path"], error=error)
        self._carrier.reset(self, f.INTERNAL_ERROR)  # only where the answer has not ended
