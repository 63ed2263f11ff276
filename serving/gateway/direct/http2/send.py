"""What goes out on an HTTP/2 connection: frames, as far as the client has made room for them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final

from serving.dataplane.context import NO_CONTEXT
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.connection import NEVER, SLOWEST, Speaker
from serving.gateway.grpc.frames import status_trailers
from serving.http2 import frames as f
from serving.protocol.status import error_body

if TYPE_CHECKING:
    from serving.dataplane.handler import Ticket
    from serving.gateway.direct.backlog import Waiter
    from serving.gateway.direct.http2.streams import AppStream
    from serving.gateway.direct.known_heads import Head2
    from serving.gateway.direct.server import DirectServer

GRPC_START: Final = b"\x88" + f.literal(b"content-type", b"application/grpc")


class Call:
    """A plain ModelInfer call from its headers to its answer."""

    __slots__ = (
        "body", "charged", "complete", "context", "deadline", "head", "ident", "received", "stuck",
        "ticket", "trailers", "unacknowledged", "waiter", "waiting", "window",
    )  # fmt: skip

    begun = False
    endless = False
    refused = False

    def __init__(self, ident: int, head: Head2, window: int, deadline: float) -> None:
        self.ident = ident
        self.head = head
        self.window = window
        self.deadline = deadline
        self.stuck = NEVER
        self.body: BodyBuffer | None = None
        self.received = 0
        self.charged = 0
        self.unacknowledged = 0
        self.complete = False
        self.context = NO_CONTEXT
        self.ticket: Ticket | None = None
        self.waiter: Waiter | None = None
        self.waiting: deque[tuple[bytes | memoryview, bool]] | None = None
        self.trailers = b""

    def lost(self) -> None:
        """Nobody waits for it any more."""
        self.waiting = None
        if self.ticket is not None:
            self.ticket.cancel()
        if self.waiter is not None:
            self.waiter.cancel()


class Sender(Speaker):
    """The sending half of a connection."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self._streams: dict[int, Call | AppStream] = {}
        self._blocked: dict[int, Call | AppStream] = {}
        """Streams that the client has made room for, but not the connection."""
        self._room = f.FIRST_WINDOW
        self._initial = f.FIRST_WINDOW
        self._max_frame = f.SMALLEST_FRAME
        self._closing = False

    @abstractmethod
    def forget(self, stream: Call | AppStream) -> None:
        """The stream has ended."""

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self._closing:
            self._transport.write(data)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self._transport.is_closing():
            self._flush_blocked()

    def flush(self, stream: Call | AppStream) -> None:
        """Write what waits on a stream, as far as the client has made room."""
        waiting = stream.waiting
        while waiting:
            body, end = waiting[0]
            size = min(len(body), self._room, stream.window, self._max_frame)
            # An empty frame needs no room, unless the client has taken back more than it had given.
            if size < 0 or (len(body) and (not size or self._stalled)):
                self._wait(stream)
                return
            whole = size == len(body)
            self.write(
                f.frame(f.DATA, f.END_STREAM if end and whole else 0, stream.ident,
                        bytes(body[:size]))
            )  # fmt: skip
            self._room -= size
            stream.window -= size
            if stream.stuck != NEVER:
                stream.stuck += size / SLOWEST
            if whole:
                waiting.popleft()
            else:
                waiting[0] = (memoryview(body)[size:], end)
        self._blocked.pop(stream.ident, None)
        stream.stuck = NEVER
        if type(stream) is Call:
            self.write(stream.trailers)
            self.forget(stream)
        else:
            stream.flushed()  # type: ignore[union-attr]

    def _wait(self, stream: Call | AppStream) -> None:
        """Remember a stream whose answer does not fit, and how long it may stay so."""
        if stream.window > 0 or self._stalled:
            self._blocked[stream.ident] = stream
        else:
            self._blocked.pop(stream.ident, None)  # its own window brings it back
        until = self._server.stall_until
        if stream.stuck > until:
            stream.stuck = until

    def _flush_blocked(self) -> None:
        if not self._blocked:
            return
        for stream in list(self._blocked.values()):
            if self._room <= 0 or self._stalled:
                return
            self.flush(stream)

    def set_window(self, value: int) -> None:
        """Follow a new initial window of the client's settings.

        Raises:
            ProtocolError: a window becomes larger than the protocol allows.
        """
        more = value - self._initial
        self._initial = value
        for stream in list(self._streams.values()):
            stream.window += more
            if stream.window > f.LARGEST_WINDOW:
                raise f.ProtocolError(f.FLOW_CONTROL_ERROR, "a stream's window is too large")
            if more > 0 and stream.waiting:
                self.flush(stream)

    def fail_grpc(self, ident: int, status: int, text: str) -> None:
        """Write a whole answer that says why a call failed."""
        block = GRPC_START + b"".join(f.literal(k, v) for k, v in status_trailers(status, text))
        self.write(f.headers(f.END_STREAM, ident, block, self._max_frame))

    def fail_json(
        self,
        ident: int,
        window: int,
        status: int,
        sentence: str,
        retry_after_s: float | None = None,
    ) -> None:
        """Write a whole HTTP answer that says what is wrong, its status alone without room."""
        block = f.literal(b":status", b"%d" % status) + f.literal(
            b"content-type", b"application/json"
        )
        if retry_after_s is not None:
            block += f.literal(b"retry-after", b"%d" % max(1, round(retry_after_s)))
        body = error_body(sentence)
        if len(body) > min(self._room, window, self._max_frame):
            self.write(f.headers(f.END_STREAM, ident, block, self._max_frame))
            return
        self._room -= len(body)
        self.write(
            f.headers(0, ident, block, self._max_frame) + f.frame(f.DATA, f.END_STREAM, ident, body)
        )

    def write_block(self, ident: int, flags: int, block: bytes) -> None:
        """Write a header block of an answer."""
        self.write(f.headers(flags, ident, block, self._max_frame))

    def reset(self, stream: Call | AppStream, code: int) -> None:
        """End a stream without an answer, or without the rest of one."""
        if stream.ident in self._streams:
            self.write(f.reset(stream.ident, code))
            self.forget(stream)
            stream.lost()

    def reset_number(self, ident: int, code: int) -> None:
        """End the stream of a number, whether or not it is open."""
        stream = self._streams.get(ident)
        if stream is None:
            self.write(f.reset(ident, code))
        else:
            self.reset(stream, code)
