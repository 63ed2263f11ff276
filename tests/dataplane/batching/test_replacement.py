"""The last replica of a model version is lost: who waits for the next one, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.config import Replicas
from serving.dataplane.batching import replacement
from serving.dataplane.batching.replacement import Replacement
from serving.errors import DeadlineExceeded, NoReplica

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60


async def get(future: asyncio.Future[Any]) -> list[float]:
    answer = await asyncio.wait_for(future, TIMEOUT)
    return [float(value) for value in answer.outputs["y"][:, 0]]


@pytest.fixture
def start(make_bench: Make, make_link: Make, eventually: Wait) -> Callable[..., Awaitable[Any]]:
    """Makes a batcher whose replicas all hold a batch, with one more request that waits."""

    async def start(replicas: int) -> Any:
        bench = make_bench(replicas=Replicas(min=replicas))
        bench.links = [make_link(f"r{index}", manual=True) for index in range(replicas)]
        bench.futures = []
        for index, link in enumerate(bench.links):
            bench.batcher.add_link(link)
            bench.futures.append(bench.ask(str(index), [float(index)]))
            await eventually(lambda link=link: link.held)
        bench.futures.append(bench.ask("waits", [float(replicas)]))
        return bench

    return start


async def lose_all(bench: Any) -> None:
    """Lose every replica at once; none had begun what it holds."""
    for link in bench.links:
        link.die()
        bench.batcher.remove_link(link)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not bench.batcher.links


@pytest.mark.parametrize("replicas", [1, 2, 3])
async def test_what_was_admitted_is_answered_by_the_next_replica(
    start: Any, make_link: Make, replicas: int
) -> None:
    bench = await start(replicas)
    await lose_all(bench)
    assert not any(future.done() for future in bench.futures)
    bench.batcher.add_link(make_link("next"))
    answers = [await get(future) for future in bench.futures]
    assert answers == [[2.0 * index] for index in range(replicas + 1)]
    assert bench.queue.waiting_rows == 0


async def test_who_comes_while_several_are_replaced_waits_too(start: Any, make_link: Make) -> None:
    bench = await start(2)
    await lose_all(bench)
    assert bench.batcher.admits
    assert bench.queue.served  # so a full queue is one
    late = bench.ask("late", [7.0])
    whole = bench.ask("large", [1.0] * 1025)  # goes in parts
    bench.batcher.add_link(make_link("next"))
    assert await get(late) == [14.0]
    assert await get(whole) == [2.0] * 1025
    assert not bench.batcher._replacement.awaited


async def test_who_comes_while_the_only_one_is_replaced_is_told(
    start: Any, make_link: Make
) -> None:
    bench = await start(1)
    rooms: list[int] = []
    bench.queue.on_room = lambda: rooms.append(1)
    await lose_all(bench)
    assert rooms  # those that wait unread are told too
    with pytest.raises(NoReplica) as caught:
        bench.ask("late")
    assert caught.value.retry_after_s == 1
    bench.batcher.add_link(make_link("next"))
    assert await get(bench.ask("later", [7.0])) == [14.0]


@pytest.mark.parametrize("replicas", [1, 2])
async def test_one_that_does_not_come_in_time_is_given_up(
    start: Any, monkeypatch: pytest.MonkeyPatch, replicas: int
) -> None:
    monkeypatch.setattr(replacement, "RETURN_S", 0.05)
    bench = await start(replicas)
    await lose_all(bench)
    for future in bench.futures:
        with pytest.raises(NoReplica):
            await asyncio.wait_for(future, TIMEOUT)
    assert bench.queue.waiting_rows == 0
    with pytest.raises(NoReplica):
        bench.ask("late")


async def test_deadlines_hold_meanwhile(start: Any) -> None:
    bench = await start(2)
    await lose_all(bench)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(bench.ask("late", timeout_s=0.01), TIMEOUT)


async def test_nobody_waits_for_replicas_of_what_is_retired(start: Any) -> None:
    bench, idle = await start(2), []
    await lose_all(bench)
    bench.batcher.retire(lambda: idle.append(1))
    assert all(isinstance(future.exception(), NoReplica) for future in bench.futures)
    assert idle == [1]


async def test_what_is_retired_ends_with_its_last_replica(start: Any) -> None:
    bench, idle = await start(2), []
    bench.batcher.retire(lambda: idle.append(1))
    assert not idle
    await lose_all(bench)
    assert all(isinstance(future.exception(), NoReplica) for future in bench.futures)
    assert idle == [1]


async def test_a_closed_one_answers_all(start: Any) -> None:
    bench = await start(2)
    await lose_all(bench)
    bench.batcher.close()
    assert all(isinstance(future.exception(), NoReplica) for future in bench.futures)
    with pytest.raises(NoReplica):
        bench.ask("late")


async def test_the_time_counts_from_the_first_loss_and_ends_with_the_next_replica() -> None:
    given_up: list[int] = []
    wait = Replacement(lambda: given_up.append(1), expected=True)
    assert wait.begin()
    timer = wait._timer
    assert wait.begin()
    assert wait._timer is timer
    wait.end()
    assert timer is not None
    assert timer.cancelled()
    assert not wait.awaited


async def test_none_is_awaited_that_is_not_started_again() -> None:
    wait = Replacement(lambda: None, expected=False)
    assert not wait.begin()
    assert not wait.awaited
