"""Work that comes again and again until it is stopped, whatever became of one time."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.upkeep.periodic import Periodic


async def test_work_that_fails_comes_again_until_it_is_stopped() -> None:
    loop = asyncio.get_running_loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context))
    times = 0

    def work() -> None:
        nonlocal times
        times += 1
        raise LookupError

    periodic = Periodic(0.005, work)
    periodic.start()
    assert times == 0  # not before the first interval is over
    async with asyncio.timeout(60):
        while times < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    periodic.stop()
    before = times
    await asyncio.sleep(0.05)
    assert times == before
    assert len(failures) == before


async def test_it_may_be_stopped_before_it_began_and_by_its_work() -> None:
    times: list[int] = []

    def once() -> None:
        times.append(1)
        periodic.stop()

    periodic = Periodic(0.002, once)
    periodic.stop()
    periodic.start()
    await asyncio.sleep(0.05)
    assert times == [1]
