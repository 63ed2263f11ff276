"""Work in threads that nobody waits for any more."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.gateway.threads import HANDOVER_S, hand_over_soon, in_thread


class Body:
    """Like bytes, but one can tell when it goes."""


async def test_the_result_and_the_error_come_back() -> None:
    assert await in_thread(len, b"abc") == 3
    with pytest.raises(TypeError):
        await in_thread(len, 3)


async def test_work_that_is_given_up_while_it_waits_lets_go_of_its_body() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    go_on = threading.Event()
    busy = asyncio.create_task(in_thread(go_on.wait, None))
    await asyncio.sleep(0)
    try:
        await give_up()
    finally:
        go_on.set()
    await busy


async def give_up() -> None:
    bodies = [Body() for _ in range(3)]
    left = [weakref.ref(body) for body in bodies]
    tasks = [asyncio.create_task(in_thread(id, body)) for body in bodies]
    del bodies
    await asyncio.sleep(0)
    assert all(ref() is not None for ref in left)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    del task, tasks
    assert not any(ref() for ref in left)


def test_threads_let_each_other_on_sooner_than_by_default() -> None:
    before = sys.getswitchinterval()
    try:
        hand_over_soon()
        assert sys.getswitchinterval() == pytest.approx(HANDOVER_S)
        assert before > 5 * HANDOVER_S
    finally:
        sys.setswitchinterval(before)
