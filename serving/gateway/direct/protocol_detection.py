"""An accepted connection until it is clear which protocol its client speaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from serving.gateway.direct.connection import NEVER, Speaker
from serving.gateway.direct.http1.connection import Http1
from serving.gateway.direct.http2.connection import Http2
from serving.http2.frames import PREFACE

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer


class Opening(asyncio.Protocol):
    """A connection before it is made."""

    def __init__(self, server: DirectServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are no subclass of asyncio's.
        connected = cast(asyncio.Transport, transport)
        peer = connected.get_extra_info("peername")
        client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        undecided = ProtocolDetection(self._server, connected, client)
        connected.set_protocol(cast(asyncio.Protocol, undecided))


class ProtocolDetection(Speaker):
    """A connection that has not said enough; whoever speaks its protocol takes over."""

    _first = b""

    def data_received(self, data: bytes) -> None:
        """Choose the speaker, hand the connection over, and what came so far with it."""
        first = self._first = self._first + data
        if len(first) < len(PREFACE) and PREFACE.startswith(first):
            return
        self._server.connections.discard(self)
        kind = Http2 if first.startswith(PREFACE) else Http1
        speaker = kind(self._server, self._transport, self.client)
        self._transport.set_protocol(cast(asyncio.Protocol, speaker))
        if self._server.stopping:
            speaker.stop()
        speaker.data_received(first)

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
