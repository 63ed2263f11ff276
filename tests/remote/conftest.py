"""A peer that does what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from serving.errors import VigilError
from serving.remote.access import Access
from serving.remote.address import parse_address
from serving.remote.carriers import AsyncCarrier, open_async_carrier
from serving.remote.pending import awaited
from serving.remote.wire import Answer, UpstreamCall

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """Listens on loopback; `script` is run for each connection, and may be replaced."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.script: Script | None = None
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: BaseException | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        assert self.script is not None
        self._tasks.add(task)
        try:
            await self.script(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            self.failed = error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failed is not None:
            raise self.failed


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def peer6() -> AsyncIterator[Peer]:
    """The same on the loopback of IPv6."""
    made = Peer("::1")
    try:
        await made.start()
    except OSError:
        pytest.skip("needs IPv6 on loopback")
    yield made
    await made.stop()


class Client:
    """Sends calls by a carrier."""

    def __init__(self, carrier: AsyncCarrier) -> None:
        self.carrier = carrier

    async def send(self, call: UpstreamCall, timeout_s: float = 10) -> Answer:
        return await awaited(lambda callback: self.carrier.ask(call, timeout_s, callback))

    async def refused(self, call: UpstreamCall, timeout_s: float = 10) -> VigilError:
        with pytest.raises(VigilError) as told:
            await self.send(call, timeout_s)
        return told.value


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[[str], Client]]:
    """Makes clients of a URL."""
    made: list[Client] = []

    def make(url: str, access: Access | None = None) -> Client:
        made.append(Client(open_async_carrier(parse_address(url), access or Access())))
        return made[-1]

    yield make
    for client in made:
        await client.carrier.close()
