"""An accepted connection until it is clear which protocol its client speaks."""

from __future__ import annotations

import asyncio
from typing import cast

from serving.gateway.direct.connection import NEVER, Connection
from serving.gateway.direct.http1.connection import Http1
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.http2.connection import Http2
from serving.gateway.direct.http2.shapes import Shapes2
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState
from serving.http2.frames import PREFACE


class NewConnection(asyncio.Protocol):
    """A connection before it is made.

    Args:
        state: what all connections share.
        shapes: heads of HTTP/1.1 that they have seen.
        shapes2: heads of HTTP/2 that they have seen.
    """

    def __init__(self, state: ServerState, shapes: Shapes, shapes2: Shapes2) -> None:
        self._state = state
        self._shapes = shapes
        self._shapes2 = shapes2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are no subclass of asyncio's.
        connected = cast(asyncio.Transport, transport)
        name = connected.get_extra_info("peername")
        address = (name[0], name[1]) if isinstance(name, tuple) else None
        peer = Peer(address, self._state.proxies, self._state.access)
        undecided = ProtocolDetection(self._state, connected, peer, self._shapes, self._shapes2)
        connected.set_protocol(cast(asyncio.Protocol, undecided))


class ProtocolDetection(Connection):
    """A connection that has not said enough; one that speaks its protocol takes over."""

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        peer: Peer,
        shapes: Shapes,
        shapes2: Shapes2,
    ) -> None:
        super().__init__(state, transport, peer)
        self._shapes = shapes
        self._shapes2 = shapes2
        self._first = b""

    def data_received(self, data: bytes) -> None:
        """Choose the protocol, hand the connection over, and what came so far with it."""
        first = self._first = self._first + data
        if len(first) < len(PREFACE) and PREFACE.startswith(first):
            return
        connections = self._state.connections
        connections.open.discard(self)
        chosen = self._chosen(first)
        self._transport.set_protocol(cast(asyncio.Protocol, chosen))
        if connections.stopping:
            chosen.stop()
        chosen.data_received(first)

    def _chosen(self, first: bytes) -> Connection:
        if first.startswith(PREFACE):
            return Http2(self._state, self._transport, self._peer, self._shapes2)
        return Http1(self._state, self._transport, self._peer, self._shapes)

    def lost(self) -> None:
        """Nothing was under way."""

    def too_slow(self) -> None:
        """It has said nothing that could be answered."""
        self.deadline = NEVER
        self.close()

    def stop(self) -> None:
        """It may still speak."""

    def stopped(self) -> None:
        """Too late."""
        self.close()
