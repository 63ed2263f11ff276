"""What every connection of the direct ingress has, whatever protocol its client speaks."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer

HEAD_S: Final = 10.0
"""What a client may take for the head of a request."""
BODY_S: Final = 60.0
"""What it may take for the body."""
IDLE_S: Final = 300.0
"""How long a connection may stay open without a request."""
STALL_S: Final = 60.0
"""How long a client may leave its answers unread."""
NEVER: Final = float("inf")


class Speaker(asyncio.Protocol):
    """One connection from its first byte to its last.

    Args:
        server: what all connections share.
        transport: the connection.
        client: the peer's address, or None on a Unix socket.
    """

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        self.client = client
        self._server = server
        self._transport = transport
        self._stalled = False
        self._full = False
        self.deadline = server.now + HEAD_S
        server.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is gone."""
        self._server.connections.discard(self)
        self.deadline = NEVER
        self.lost()

    def pause_writing(self) -> None:
        """The client does not read: take nothing more from it."""
        self._stalled = True
        self.deadline = self._server.now + STALL_S
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stalled = False
        self.deadline = self._server.now + IDLE_S
        if not self._full:
            self._transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Once a second: end what is too slow."""
        if self.deadline < now:
            if self._stalled:
                self._transport.abort()
            else:
                self.too_slow()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    @abstractmethod
    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""

    @abstractmethod
    def too_slow(self) -> None:
        """The deadline has passed."""

    @abstractmethod
    def stop(self) -> None:
        """The gateway is about to stop: say so with the next answer."""

    @abstractmethod
    def stopped(self) -> None:
        """Take nothing new, and end after what is under way."""
