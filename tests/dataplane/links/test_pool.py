"""One link to each replica over real sockets: opened once, and every loss is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.endpoint import ChannelServer, connect
from serving.config import InputSpec
from serving.dataplane.links.link import ChannelLink
from serving.dataplane.links.pool import LinkPool

Wait = Callable[[Callable[[], object]], Awaitable[None]]
SPECS = {"x": InputSpec(name="x", datatype="FP32", shape=[-1, 2])}


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[ChannelServer]:
    server = ChannelServer(lambda _connection, _message: None, slots=2)
    await server.start(f"unix:{tmp_path}/r")
    yield server
    server.close()
    for connection in list(server.connections):
        connection.abort()
    await asyncio.sleep(0.01)


class Pool:
    """A pool and what it told."""

    def __init__(self, connect_: Any = None) -> None:
        self.up: list[ChannelLink] = []
        self.down: list[ChannelLink] = []
        self.failed = 0
        self.then: Callable[[], None] = lambda: None
        self.tried: list[str] = []
        self._connect = connect_ or (lambda address, lost: connect(address, on_closed=lost))
        self.pool = LinkPool(
            self._count, lambda _key, link: self.up.append(link),
            lambda _key, link: self.down.append(link), self._fail,
        )  # fmt: skip

    def _count(self, address: str, lost: Any) -> Any:
        self.tried.append(address)
        return self._connect(address, lost)

    def _fail(self) -> None:
        self.failed += 1
        self.then()

    def open(self, address: str, ident: str = "r") -> None:
        self.pool.open("m", "1", "", ident, address, SPECS)


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(connect_: Any = None) -> Pool:
        pools.append(Pool(connect_))
        return pools[-1]

    yield make
    for pool in pools:
        pool.pool.close()
    await asyncio.sleep(0.01)


async def test_pool_connects_once(replica: ChannelServer, make_pool: Any, eventually: Wait) -> None:
    pool = make_pool()
    pool.open(replica.address)
    pool.open(replica.address)
    await eventually(lambda: pool.up)
    pool.open(replica.address)
    await asyncio.sleep(0.01)
    assert pool.tried == [replica.address]
    assert (pool.up[0].id, pool.up[0].slots) == ("r", 2)


async def test_pool_tells_losses_and_opens_again(
    replica: ChannelServer, make_pool: Any, eventually: Wait
) -> None:
    pool = make_pool()
    pool.open(replica.address)
    await eventually(lambda: pool.up)
    for connection in list(replica.connections):
        connection.abort()
    await eventually(lambda: pool.down == pool.up)
    pool.open(replica.address)
    await eventually(lambda: len(pool.up) == 2)


async def test_pool_tells_that_nobody_was_there(
    make_pool: Any, tmp_path: Path, eventually: Wait
) -> None:
    pool = make_pool()
    for number in (1, 2):
        pool.open(f"unix:{tmp_path}/nobody")
        await eventually(lambda number=number: pool.failed == number)
    assert not pool.up


async def test_a_link_lost_before_the_pool_knows_it_is_opened_again(
    replica: ChannelServer, make_pool: Any, eventually: Wait
) -> None:
    async def lost_at_once(address: str, lost: Any) -> Connection:
        connection = await connect(address, on_closed=lost)
        connection.abort()
        await eventually(lambda: connection.closed)
        return connection

    pool = make_pool(lost_at_once)
    for number in (1, 2):  # the second time shows that the id is not thought to be linked
        pool.open(replica.address)
        await eventually(lambda number=number: pool.failed == number)
    assert len(pool.tried) == 2
    assert not pool.up


async def test_who_is_told_of_a_failure_can_ask_again_at_once(
    make_pool: Any, tmp_path: Path, eventually: Wait
) -> None:
    pool = make_pool()
    address = f"unix:{tmp_path}/nobody"

    def again() -> None:
        if pool.failed < 3:
            pool.open(address)

    pool.then = again
    pool.open(address)
    await eventually(lambda: pool.failed == 3)
    assert pool.tried == [address] * 3


async def test_a_replica_that_came_back_elsewhere_replaces_its_silent_predecessor(
    replica: ChannelServer, make_pool: Any, eventually: Wait, tmp_path: Path
) -> None:
    pool = make_pool()
    pool.open(replica.address)
    await eventually(lambda: pool.up)
    successor = ChannelServer(lambda _c, _m: None, slots=3)
    await successor.start(f"unix:{tmp_path}/successor")
    pool.open(successor.address)
    await eventually(lambda: pool.down == pool.up)
    pool.open(successor.address)
    await eventually(lambda: len(pool.up) == 2)
    assert pool.up[1].slots == 3
    successor.close()


async def test_released_links_stay_open_and_their_ids_are_free(
    replica: ChannelServer, make_pool: Any, eventually: Wait
) -> None:
    pool = make_pool()
    pool.open(replica.address)
    await eventually(lambda: pool.up)
    assert pool.pool.release("m", "2", "") == []
    assert pool.pool.release("m", "1", "") == pool.up
    assert pool.up[0].open
    pool.open(replica.address)
    await eventually(lambda: len(pool.up) == 2)
    pool.up[0].connection.abort()  # its loss is told, and is not taken for the new one's
    await eventually(lambda: pool.down == pool.up[:1])
    pool.open(replica.address)
    await asyncio.sleep(0.01)
    assert len(pool.tried) == 2


async def test_close_ends_what_is_open_and_what_is_opening(
    replica: ChannelServer, make_pool: Any, eventually: Wait
) -> None:
    never = asyncio.Event()

    async def slow(address: str, lost: Any) -> Connection:
        if "slow" in address:
            await never.wait()
            raise ChannelClosed
        return await connect(address, on_closed=lost)

    before = asyncio.all_tasks()
    pool = make_pool(slow)
    pool.open(replica.address)
    pool.open("unix:slow", "other")
    await eventually(lambda: pool.up)
    pool.pool.close()
    await eventually(lambda: not replica.connections)
    await eventually(lambda: asyncio.all_tasks() == before)
