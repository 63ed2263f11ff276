"""What goes out on an HTTP/2 connection: frames, as far as the client has made room for them."""

from __future__ import annotations

import asyncio
from typing import Final

from serving.errors import VigilError
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.connection import NEVER, SLOWEST
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.grpc.replies import error_trailers
from serving.gateway.http.replies import Reply
from serving.http2 import frames as f

GRPC_START: Final = b"\x88" + f.literal(b"content-type", b"application/grpc")


class Sender:
    """The sending half of a connection.

    Args:
        transport: the connection's.
        clock: until when a client may leave its answers unread.

    Attributes:
        room: bytes of DATA that the client takes on the connection.
        initial: bytes that it takes on a new stream.
        max_frame: bytes that it takes in a frame.
        blocked: streams that the client has made room for, but not the connection.
        stalled: whether the client reads nothing.
        closing: whether nothing is written any more.
    """

    def __init__(self, transport: asyncio.Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self.room = f.FIRST_WINDOW
        self.initial = f.FIRST_WINDOW
        self.max_frame = f.SMALLEST_FRAME
        self.blocked: dict[int, Call | AppStream] = {}
        self.stalled = False
        self.closing = False

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self.closing:
            self._transport.write(data)

    def flush(self, stream: Call | AppStream) -> bool:
        """Write what waits on a stream, as far as there is room; True if a call has ended so."""
        waiting = stream.waiting
        while waiting:
            body, end = waiting[0]
            size = min(len(body), self.room, stream.window, self.max_frame)
            # An empty frame needs no room, unless the client has taken back more than it had given.
            if size < 0 or (len(body) and (not size or self.stalled)):
                self._wait(stream)
                return False
            whole = size == len(body)
            self.write(
                f.frame(f.DATA, f.END_STREAM if end and whole else 0, stream.ident,
                        bytes(body[:size]))
            )  # fmt: skip
            self.room -= size
            stream.window -= size
            if stream.stuck != NEVER:
                stream.stuck += size / SLOWEST
            if whole:
                waiting.popleft()
            else:
                waiting[0] = (memoryview(body)[size:], end)
        self.blocked.pop(stream.ident, None)
        stream.stuck = NEVER
        if type(stream) is Call:
            self.write(stream.trailers)
            return True
        stream.flushed()  # type: ignore[union-attr]
        return False

    def _wait(self, stream: Call | AppStream) -> None:
        """Remember a stream whose answer does not fit, and how long it may stay so."""
        if stream.window > 0 or self.stalled:
            self.blocked[stream.ident] = stream
        else:
            self.blocked.pop(stream.ident, None)  # its own window brings it back
        until = self._clock.stall_until
        if stream.stuck > until:
            stream.stuck = until

    def write_block(self, ident: int, flags: int, block: bytes) -> None:
        """Write a header block of an answer."""
        self.write(f.headers(flags, ident, block, self.max_frame))

    def fail_grpc(self, ident: int, error: VigilError) -> None:
        """Write a whole answer that says why a call failed."""
        block = GRPC_START + b"".join(f.literal(k, v) for k, v in error_trailers(error))
        self.write(f.headers(f.END_STREAM, ident, block, self.max_frame))

    def fail_http(self, ident: int, window: int, reply: Reply) -> None:
        """Write a whole HTTP answer that says what is wrong, its status alone without room."""
        block = f.literal(b":status", b"%d" % reply.status)
        block += b"".join(f.literal(k, v) for k, v in reply.headers)
        body = reply.body
        if len(body) > min(self.room, window, self.max_frame):
            self.write(f.headers(f.END_STREAM, ident, block, self.max_frame))
            return
        self.room -= len(body)
        self.write(
            f.headers(0, ident, block, self.max_frame) + f.frame(f.DATA, f.END_STREAM, ident, body)
        )
