"""Servers and raw peers on real sockets, and a way to wait for what they cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel import frames
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.frames import FrameReader


@pytest.fixture
def unix(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[ChannelServer]]]:
    """Starts a channel server; `on_message` may be left out, then messages are kept."""
    servers: list[ChannelServer] = []

    async def start(address: str, on_message: Any = None, **options: Any) -> ChannelServer:
        received: list[tuple[Connection, Message]] = []
        server = ChannelServer(on_message or (lambda c, m: received.append((c, m))), **options)
        server.received = received  # type: ignore[attr-defined]
        await server.start(address)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
        for connection in list(server.connections):
            connection.abort()
    await asyncio.sleep(0.01)


class RawPeer:
    """A stream that speaks frames by hand, to say what no well-behaved peer would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader()
        self._ready: list[Message] = []

    def send(self, kind: str, meta: object, ident: int = 0) -> None:
        self.writer.writelines(frames.encode(kind, ident, meta))

    async def receive(self) -> Message | None:
        """The next message, None at the end."""
        async with asyncio.timeout(60):
            while not self._ready:
                data = await self.reader.read(1 << 16)
                if not data:
                    return None
                self._ready += [frames.decode(frame) for frame in self._frames.feed(data)]
        return self._ready.pop(0)


@pytest.fixture
async def raw() -> AsyncIterator[Callable[[str], Awaitable[RawPeer]]]:
    """Connects to an address without a handshake."""
    peers: list[RawPeer] = []

    async def connect(address: str) -> RawPeer:
        if address.startswith("unix:"):
            streams = await asyncio.open_unix_connection(address[5:])
        else:
            _, host, port = address.split(":")
            streams = await asyncio.open_connection(host, int(port))
        peers.append(RawPeer(*streams))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.writer.close()
    await asyncio.sleep(0)
