"""Connecting: several addresses, and how long a server is left alone."""

from __future__ import annotations

import asyncio
import socket

import pytest

from serving.errors import Unreachable
from serving.remote import connecting
from serving.remote.address import Address, parse_address
from serving.remote.connecting import Patience, connect
from serving.remote.http.connection import HttpConnection


def make() -> HttpConnection:
    return HttpConnection(lambda _connection: None)


async def quiet(reader, _writer):
    await reader.read()


async def test_the_next_address_is_tried(peer, monkeypatch):
    peer.script = quiet
    loop = asyncio.get_running_loop()
    found = loop.getaddrinfo
    asked = []

    async def several(host, port, **more):
        if host != "elsewhere.example":
            return await found(host, port, **more)
        asked.append(host)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.9", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", several)
    connection = await connect(Address("http", "elsewhere.example", peer.port), None, make)
    assert asked == ["elsewhere.example"]
    connection.close()


async def test_an_address_of_ipv6(peer6):
    peer6.script = quiet
    connection = await connect(parse_address(f"http://[::1]:{peer6.port}"), None, make)
    connection.close()


async def test_a_name_that_nobody_has():
    with pytest.raises(Unreachable, match="cannot be reached"):
        await connect(Address("http", "nobody.invalid", 1), None, make)


async def test_who_says_nothing_is_not_waited_for_long(peer, monkeypatch):
    class Silent(HttpConnection):
        def connection_made(self, transport):
            self._transport = transport  # and is never ready

    peer.script = quiet
    monkeypatch.setattr(connecting, "CONNECT_S", 0.05)
    with pytest.raises(Unreachable):
        await connect(
            Address("http", "127.0.0.1", peer.port), None, lambda: Silent(lambda _connection: None)
        )


async def test_pauses_grow_until_it_is_reached(monkeypatch):
    now = 100.0
    patience = Patience()
    monkeypatch.setattr(patience, "_loop", type("Loop", (), {"time": lambda _: now})())
    error = Unreachable("gone")
    pauses = []
    for _ in range(6):
        patience.failed(error)
        start = now
        while patience.failure() is error:
            now += 0.01
        pauses.append(now - start)
    assert pauses[0] == pytest.approx(0.2, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(1.0, abs=0.02)
    patience.reached()
    assert patience.failure() is None
