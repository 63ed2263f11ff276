"""What an HTTP/2 client may send: its windows, the bodies held for it, and what it may waste."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from serving.gateway.direct.http2.send import Call
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.direct.http2.unary import Calls
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer

STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 16 << 20
MOST_RESETS: Final = 2_000
MOST_CONTROL: Final = 20_000
"""Frames a second that a client may spend on nothing before it is asked to calm down."""


class Intake(Calls):
    """A connection that bounds what its client sends, and grants it more as that is taken."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self._window = CONNECTION_WINDOW
        """What the client may still send before it is granted more."""
        self._taken = 0
        """Bytes that were taken and not granted again yet."""
        self._held = 0
        """Bytes of bodies that are not whole yet."""
        self._most_held = 2 * max(server.max_body, CONNECTION_WINDOW)
        self._resets = 0
        self._control = 0

    def _forgive(self) -> None:
        """Forget what the client has spent on nothing."""
        self._resets = self._control = 0

    def _nothing(self) -> None:
        self._control += 1
        if self._control > MOST_CONTROL:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def _strike(self) -> None:
        self._resets += 1
        if self._resets > MOST_RESETS:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _acknowledge(self, size: int) -> None:
        """Let the client send as much again on the connection."""
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 2:
            self.write(f.window_update(0, self._taken))
            self._window += self._taken
            self._taken = 0

    def _grant(self, stream: Call | AppStream) -> None:
        if stream.unacknowledged >= STREAM_WINDOW // 2:
            self.write(f.window_update(stream.ident, stream.unacknowledged))
            stream.unacknowledged = 0

    def consumed(self, stream: AppStream, size: int) -> None:
        """The app has taken `size` bytes of a stream's body."""
        if stream.endless:  # other bodies grow in the app until they are whole
            self._held -= size
            stream.received -= size
            self._server.bodies.give_back(stream, size)
        self._acknowledge(size)
        if not stream.complete:
            self._grant(stream)

    def answered(self, stream: Call | AppStream) -> None:
        """The answer begins: the body is not needed any more, however slowly that is read."""
        self._server.bodies.release(stream)

    def _cover(self, stream: Call | AppStream, payload: bytes) -> bool:
        """Charge a stream with what has come of its body; whether there is room for that."""
        size = stream.received
        if not stream.charged and stream.head.grpc and not stream.endless and len(payload) >= 5:
            # What a call says of its message's length stands for a content-length.
            size = max(size, min(int.from_bytes(payload[1:5], "big"), self._server.max_body) + 5)
        return self._server.bodies.cover(stream, size)

    def _shed(self) -> None:
        """Refuse the youngest body that is not whole: with all of them here, none might be."""
        for stream in reversed(self._streams.values()):
            if not stream.complete and stream.received:
                self.reset(stream, f.ENHANCE_YOUR_CALM if stream.begun else f.REFUSED_STREAM)
                return
