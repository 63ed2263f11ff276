"""A zygote that is lost is started again, and orders wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from serving.channel.messages.directory import ServedModel
from serving.engines.local import zygote_keeper
from serving.engines.local.zygote_keeper import HOPELESS, ZygoteKeeper

SERVED = ServedModel("m", "1", b"", "/")
ORDER = ("replica", SERVED, "r0", "unix:/r", "unix:/h", None)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is in other objects' state
            await asyncio.sleep(0.002)


class FakeClient:
    """A zygote that answers an order when told to."""

    made: list[FakeClient]
    refuses = 0

    def __init__(self) -> None:
        self.ready = True
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.orders: list[asyncio.Future[Any]] = []
        self.stopped = False

    async def start(self) -> int:
        if FakeClient.refuses:
            FakeClient.refuses -= 1
            raise BlockingIOError("no more processes")
        FakeClient.made.append(self)
        return 100 + len(FakeClient.made)

    async def fork(self, *_order: Any) -> Any:
        if self.lost.done():
            raise ConnectionError("the zygote died")
        self.orders.append(asyncio.get_running_loop().create_future())
        return await self.orders[-1]

    def die(self) -> None:
        for order in self.orders:
            if not order.done():
                order.set_exception(ConnectionError("the zygote died"))
        self.lost.set_result(None)

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
async def keeper(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ZygoteKeeper]:
    monkeypatch.setattr(zygote_keeper, "ZygoteClient", FakeClient)
    monkeypatch.setattr(zygote_keeper, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(zygote_keeper, "LONGEST_PAUSE_S", 0.004)
    FakeClient.made, FakeClient.refuses = [], 0
    keeper = ZygoteKeeper()
    yield keeper
    await keeper.stop()
    assert FakeClient.made[-1].stopped


async def test_an_order_that_a_lost_zygote_had_goes_to_the_next(keeper: ZygoteKeeper) -> None:
    pids: list[int] = []
    keeper.on_start = pids.append
    await keeper.start()
    ordered = asyncio.create_task(keeper.fork(*ORDER))
    await eventually(lambda: FakeClient.made[0].orders)
    FakeClient.refuses = 2
    FakeClient.made[0].die()
    late = asyncio.create_task(keeper.fork(*ORDER))
    await eventually(lambda: len(FakeClient.made) == 2 and len(FakeClient.made[1].orders) == 2)
    for number, order in enumerate(FakeClient.made[1].orders):
        order.set_result(number)
    assert {await ordered, await late} == {0, 1}
    assert pids == [101, 102]
    assert FakeClient.made[0].stopped
    assert not keeper.hopeless


async def test_several_that_never_get_ready_are_hopeless(keeper: ZygoteKeeper) -> None:
    await keeper.start()
    for number in range(HOPELESS):
        assert not keeper.hopeless
        await eventually(lambda number=number: len(FakeClient.made) == number + 1)
        FakeClient.made[-1].ready = False
        FakeClient.made[-1].die()
    await eventually(lambda: keeper.hopeless)
    await eventually(lambda: len(FakeClient.made) == HOPELESS + 1)
    FakeClient.made[-1].die()  # this one was ready
    await eventually(lambda: not keeper.hopeless)


async def test_what_is_ordered_before_the_start_waits(keeper: ZygoteKeeper) -> None:
    ordered = asyncio.create_task(keeper.fork(*ORDER))
    await asyncio.sleep(0)
    await keeper.start()
    await eventually(lambda: FakeClient.made[0].orders)
    FakeClient.made[0].orders[0].set_result("child")
    assert await ordered == "child"
