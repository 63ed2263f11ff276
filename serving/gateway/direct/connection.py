"""One accepted connection: finds out which protocol the client speaks."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, cast

from serving.gateway.direct.http1 import HEAD_S, Http1

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Connection(asyncio.Protocol):
    """A connection until it ends; everything after the first bytes is the speaker's work."""

    def __init__(self, server: DirectServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._speaker: Http1 | None = None
        self._client: tuple[str, int] | None = None
        self._first = b""
        self._opened = server.now + HEAD_S

    @property
    def deadline(self) -> float:
        """When the connection is too slow, in monotonic seconds."""
        return self._opened if self._speaker is None else self._speaker.deadline

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Hand the data to the speaker, once it is clear which."""
        if self._speaker is not None:
            self._speaker.data_received(data)
            return
        self._first += data
        assert self._transport is not None
        if len(self._first) < len(_PREFACE) and _PREFACE.startswith(self._first):
            return
        self._speaker = Http1(self._server, self._transport, self._client)
        # From here on the transport calls the speaker itself.
        first, self._first = self._first, b""
        self._speaker.data_received(first)

    def connection_lost(self, _error: Exception | None) -> None:
        """End."""
        self._server.connections.discard(self)
        if self._speaker is not None:
            self._speaker.lost()

    def too_slow(self) -> None:
        """Close, or say why where a request has begun."""
        if self._speaker is not None:
            self._speaker.too_slow()
        elif self._transport is not None:
            self._transport.close()

    def stop(self) -> None:
        """End after what is under way."""
        if self._speaker is not None:
            self._speaker.stop()
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()
