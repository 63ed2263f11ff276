"""Listening and connecting: addresses, modes, leftovers, and what is left open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving.channel.connection import ChannelClosed
from serving.channel.endpoint import ChannelServer, connect, split_tcp

Serve = Callable[..., Awaitable[ChannelServer]]
Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.mark.parametrize(
    ("address", "parts"),
    [("tcp:10.0.0.1:80", ("10.0.0.1", 80)), ("tcp:::1:80", ("::1", 80)), ("tcp:h:1", ("h", 1))],
)
def test_split_tcp(address: str, parts: tuple[str, int]) -> None:
    assert split_tcp(address) == parts


async def test_a_chosen_port_is_told(serve: Serve) -> None:
    server = await serve("tcp:127.0.0.1:0", secret=b"s")
    host, port = split_tcp(server.address)
    assert (host, port > 0) == ("127.0.0.1", True)
    (await connect(server.address, b"s")).close()


async def test_the_socket_is_private_replaces_a_leftover_and_is_removed(
    serve: Serve, unix: str
) -> None:
    path = Path(unix[5:])
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await serve(unix)
    assert path.stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240
    (await connect(unix)).close()
    server.close()
    assert not path.exists()  # noqa: ASYNC240


@pytest.mark.parametrize("address", ["unix:/nowhere/s", "tcp:127.0.0.1:1", "tcp:x", "", "tcp:h:p"])
async def test_nobody_there(address: str) -> None:
    with pytest.raises(ChannelClosed):
        await connect(address, b"s")


async def test_a_cancelled_connect_leaves_nothing_open(unix: str) -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        while await reader.read(1000):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_unix_server(silent, unix[5:])
    task = asyncio.create_task(connect(unix))
    await arrived.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await ended.wait()
    server.close()


async def test_closing_ends_every_connection(serve: Serve, unix: str, eventually: Wait) -> None:
    gone: list[object] = []
    server = await serve(unix, on_closed=gone.append)
    peers = [await connect(unix) for _ in range(3)]
    await eventually(lambda: len(server.connections) == 3)
    server.close()
    await eventually(lambda: all(peer.closed for peer in peers) and len(gone) == 3)
    assert not server.connections
    with pytest.raises(ChannelClosed):
        await connect(unix)
