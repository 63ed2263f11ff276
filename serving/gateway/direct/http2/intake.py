"""What an HTTP/2 client may send: its windows, the bodies held for it, and what it may waste."""

from __future__ import annotations

from typing import Final

from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.direct.state import ServerState
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 16 << 20
MOST_RESETS: Final = 2_000
MOST_CONTROL: Final = 20_000
"""Frames a second that a client may spend on nothing before it is asked to calm down."""


class Intake:
    """Bounds what a client sends on a connection, and grants it more as that is taken.

    Args:
        state: what all connections share.
        sender: writes what is granted.

    Attributes:
        window: what the client may still send before it is granted more.
        taken: bytes that were taken and not granted again yet.
        held: bytes of bodies that are not whole yet.
        most_held: how many of these there may be.
        control: frames that asked for nothing, since these were forgiven.
    """

    def __init__(self, state: ServerState, sender: Sender) -> None:
        self._state = state
        self._sender = sender
        self._resets = 0
        self.window = CONNECTION_WINDOW
        self.taken = 0
        self.held = 0
        self.most_held = 2 * max(state.max_body, CONNECTION_WINDOW)
        self.control = 0

    def forgive(self) -> None:
        """Forget what the client has spent on nothing."""
        self._resets = self.control = 0

    def nothing(self) -> None:
        """Count a frame that asks for nothing.

        Raises:
            ProtocolError: there were too many.
        """
        self.control += 1
        if self.control > MOST_CONTROL:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def strike(self) -> None:
        """Count a stream that had to be reset.

        Raises:
            ProtocolError: there were too many.
        """
        self._resets += 1
        if self._resets > MOST_RESETS:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many streams were reset")

    def acknowledge(self, size: int) -> None:
        """Let the client send as much again on the connection."""
        self.taken += size
        if self.taken >= CONNECTION_WINDOW // 2:
            self._sender.write(f.window_update(0, self.taken))
            self.window += self.taken
            self.taken = 0

    def grant(self, stream: Call | AppStream) -> None:
        """Let the client send as much again on a stream."""
        if stream.unacknowledged >= STREAM_WINDOW // 2:
            self._sender.write(f.window_update(stream.ident, stream.unacknowledged))
            stream.unacknowledged = 0

    def consumed(self, stream: AppStream, size: int) -> None:
        """The app has taken `size` bytes of a stream's body."""
        if stream.endless:  # other bodies grow in the app until they are whole
            self.held -= size
            stream.received -= size
            self._state.bodies.give_back(stream, size)
        self.acknowledge(size)
        if not stream.complete:
            self.grant(stream)

    def cover(self, stream: Call | AppStream, payload: bytes) -> bool:
        """Charge a stream with what has come of its body; whether there is room for that."""
        size = stream.received
        if not stream.charged and stream.head.grpc and not stream.endless and len(payload) >= 5:
            # What a call says of its message's length stands for a content-length.
            size = max(size, min(int.from_bytes(payload[1:5], "big"), self._state.max_body) + 5)
        return self._state.bodies.cover(stream, size)
