"""Clients that leave while they wait: found out by asking, seldom, and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.dataplane.queue import disconnects as disconnects
from serving.errors import ClientGone

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
HERE = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnects, "SWEEP_S", 0.01)


class Client:
    """Answers at once, as Envoy does, or only when it has left, as others do."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.asked = 0
        self.gone = asyncio.Event()
        self.at_once = at_once

    def receive(self) -> Awaitable[Any]:
        self.asked += 1
        if self.at_once:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_result(GONE if self.gone.is_set() else HERE)
            return future
        return self._wait()

    async def _wait(self) -> Any:
        await self.gone.wait()
        return GONE


async def waiting(bench: Any, link: Any, eventually: Wait, client: Client) -> Any:
    bench.batcher.add_link(link)
    first = bench.ask("first", receive=Client().receive, enqueued=time.monotonic())
    await eventually(lambda: link.held)
    return first, bench.ask("waits", [1.0] * 3, receive=client.receive, enqueued=time.monotonic())


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_has_left_is_not_computed(
    make_bench: Make, make_link: Make, eventually: Wait, at_once: bool
) -> None:
    bench, link, client = make_bench(), make_link(manual=True), Client(at_once=at_once)
    first, left = await waiting(bench, link, eventually, client)
    await eventually(lambda: client.asked)
    assert not left.done()
    client.gone.set()
    await eventually(left.done)
    assert isinstance(left.exception(), ClientGone)
    await eventually(lambda: not bench.queue.waiting_rows)  # although the slot is still taken
    assert bench.observer.of("abandoned") == [("disconnect", 3)]
    link.answer()
    await first
    assert link.sent == [["first"]]


@pytest.mark.parametrize("rows", [3, 2500])  # 2500 rows wait in parts
async def test_what_the_server_cancels_waits_no_longer(
    make_bench: Make, make_link: Make, eventually: Wait, rows: int
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    first = bench.ask("first")
    await eventually(lambda: link.held)
    left, stays = bench.ask("left", [1.0] * rows), bench.ask("stays")
    left.cancel()
    await eventually(lambda: bench.queue.waiting_rows == 1)  # although the slot is still taken
    told = bench.observer.of("abandoned")
    assert {reason for reason, _ in told} == {"disconnect"}
    assert sum(count for _, count in told) == rows
    link.manual = False
    link.answer()
    await asyncio.gather(first, stays)
    assert link.sent == [["first"], ["stays"]]


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_stays_is_answered_and_not_asked_again(
    make_bench: Make, make_link: Make, eventually: Wait, at_once: bool
) -> None:
    before = asyncio.all_tasks()
    bench, link, client = make_bench(), make_link(manual=True), Client(at_once=at_once)
    first, stays = await waiting(bench, link, eventually, client)
    await eventually(lambda: client.asked > (2 if at_once else 0))
    link.answer()
    await eventually(lambda: link.held)
    link.answer()
    await asyncio.gather(first, stays)
    asked = client.asked
    await asyncio.sleep(0.05)
    assert client.asked == asked
    assert client.asked == 1 or at_once
    assert not bench.queue.disconnects.watching
    assert asyncio.all_tasks() == before


async def test_nobody_is_asked_who_has_not_waited_long(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, link, client = make_bench(), make_link(manual=True), Client()
    first, soon = await waiting(bench, link, eventually, client)
    bench.items[1].enqueued += 3600
    await asyncio.sleep(0.05)
    assert client.asked == 0
    link.manual = False
    link.answer()
    await asyncio.gather(first, soon)


async def test_the_number_of_questions_is_bounded_and_everybody_is_asked(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnects, "POLLS_PER_SWEEP", 3)
    bench, link = make_bench(), make_link(manual=True)
    clients = [Client() for _ in range(8)]
    bench.batcher.add_link(link)
    futures = [bench.ask("first")]
    await eventually(lambda: link.held)
    futures += [bench.ask(str(n), receive=client.receive) for n, client in enumerate(clients)]
    sweeps = 0
    sweep = bench.queue.disconnects._sweep

    def counted() -> None:
        nonlocal sweeps
        sweeps += 1
        sweep()

    monkeypatch.setattr(bench.queue.disconnects, "_sweep", counted)
    await eventually(lambda: all(client.asked for client in clients))
    assert sum(client.asked for client in clients) <= 3 * (sweeps + 1)
    link.manual = False
    link.answer()
    await asyncio.gather(*futures)


async def test_a_server_that_cannot_say_costs_no_answer(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    class Broken(Client):
        async def _wait(self) -> Any:
            raise OSError("no idea")

    bench, link, client = make_bench(), make_link(manual=True), Broken(at_once=False)
    first, stays = await waiting(bench, link, eventually, client)
    await eventually(lambda: client.asked)
    link.manual = False
    link.answer()
    await asyncio.gather(first, stays)
