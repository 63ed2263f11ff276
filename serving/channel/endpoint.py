"""Opening channel connections: listen on an address, or connect to one.

An address is text: `unix:/path/to/socket` or `tcp:host:port`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from serving.channel.connection import (
    HANDSHAKE_TIMEOUT_S,
    ChannelClosed,
    ClosedCallback,
    Connection,
    MessageCallback,
)
from serving.channel.frame_parts import Message


def split_tcp(address: str) -> tuple[str, int]:
    """Split `tcp:host:port`."""
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    return host, int(port)


def _ignore(_connection: Connection, _message: Message) -> None:
    """Take a message that this end has no use for."""


def _nothing(_connection: Connection) -> None:
    """Do nothing when a connection closes."""


async def connect(
    address: str,
    secret: bytes | None = None,
    *,
    on_message: MessageCallback = _ignore,
    on_closed: ClosedCallback = _nothing,
) -> Connection:
    """Connect and shake hands.

    Raises:
        ChannelClosed: nobody listens there, or the handshake failed.
    """
    loop = asyncio.get_running_loop()
    unix = address.startswith("unix:")
    secret = None if unix else _require(secret)
    opened: list[Connection] = []

    def make() -> asyncio.Protocol:
        opened.append(
            Connection(
                server=False,
                secret=secret,
                slots=0,
                on_message=on_message,
                on_closed=on_closed,
            )
        )
        return cast(asyncio.Protocol, opened[-1])

    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            if unix:
                await loop.create_unix_connection(make, address[5:])
            else:
                host, port = split_tcp(address)
                await loop.create_connection(make, host, port)
            await opened[-1].ready
    except (OSError, TimeoutError, ValueError) as error:
        _abort(opened)
        raise ChannelClosed(f"cannot connect to {address}: {error}") from None
    except asyncio.CancelledError:
        _abort(opened)
        raise
    return opened[-1]


def _abort(opened: list[Connection]) -> None:
    for connection in opened:
        connection.abort()


def _require(secret: bytes | None) -> bytes:
    if not secret:
        raise ChannelClosed("a TCP channel needs the cluster's secret")
    return secret


class ChannelServer:
    """Accepts connections on one address and passes their messages to one callback.

    Args:
        on_message: called in the loop's thread; answers through the connection it is given.
        slots: how many requests each peer may have open, granted in the hello.
        secret: needed to listen on TCP.
    """

    def __init__(
        self,
        on_message: MessageCallback,
        *,
        slots: int = 0,
        secret: bytes | None = None,
        on_closed: Callable[[Connection], None] = _nothing,
    ) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._slots = slots
        self._secret = secret
        self._server: asyncio.Server | None = None
        self.connections: set[Connection] = set()
        self.address = ""

    async def start(self, address: str) -> str:
        """Listen; returns the address with the port that was chosen when it named port 0."""
        loop = asyncio.get_running_loop()
        if address.startswith("unix:"):
            path = Path(address[5:])
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - a socket left by a dead process
            self._server = await loop.create_unix_server(lambda: self._make(None), str(path))
            path.chmod(0o600)  # noqa: ASYNC240 - instant
            self.address = address
        else:
            secret = _require(self._secret)
            host, port = split_tcp(address)
            self._server = await loop.create_server(lambda: self._make(secret), host, port)
            self.address = f"tcp:{host}:{self._server.sockets[0].getsockname()[1]}"
        return self.address

    def goaway(self) -> None:
        """Ask every peer to send nothing new."""
        for connection in self.connections:
            connection.goaway()

    def close(self) -> None:
        """Stop listening and close every connection once its output is sent."""
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        if self.address.startswith("unix:"):
            with contextlib.suppress(OSError):
                Path(self.address[5:]).unlink(missing_ok=True)

    def _make(self, secret: bytes | None) -> asyncio.Protocol:
        connection = Connection(
            server=True,
            secret=secret,
            slots=self._slots,
            on_message=self._on_message,
            on_closed=self._gone,
        )
        self.connections.add(connection)
        return cast(asyncio.Protocol, connection)

    def _gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._on_closed(connection)
