"""Queries of death over fake replicas: who is found guilty, who is sent again, and how."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.control import EndedMeta
from serving.config import Replicas
from serving.dataplane.batching import quarantine
from serving.dataplane.batching.batch_sizing import DEFAULT_MAX_BATCH_ROWS
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.errors import ModelFailed, NoReplica

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60
DEADLY = 666.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in vain for long enough to be told so, but where a test says for how long."""
    monkeypatch.setattr(quarantine, "WAIT_S", 3600.0)
    monkeypatch.setattr(quarantine, "PATIENCE_S", 3600.0)


class World:
    """A queue whose replicas die of a row with the value `DEADLY`, and are replaced."""

    def __init__(
        self, make_bench: Make, make_link: Make, replicas: int, ended: EndedMeta | None
    ) -> None:
        self.ends = ReplicaEnds()
        self.ends.told = ended is not None
        self.ended = ended
        self.bench = make_bench(replicas=Replicas(min=replicas), ends=self.ends)
        self.make_link = make_link
        self.links: list[Any] = []
        self.deaths = 0
        self.replaced = True
        for index in range(replicas):
            self.add(f"r{index}")

    def add(self, ident: str) -> None:
        self.ends.forget(ident)
        link = self.make_link(ident, 2, manual=True)
        self.links.append(link)
        self.bench.batcher.add_link(link)

    async def work(self) -> None:
        """Answer the batch that each replica is at work on, or die of it."""
        for link in [link for link in self.links if link.held]:
            if (link.held[0][0].arrays[0] == DEADLY).any():
                await self.kill(link, begun=1)
            else:
                link.answer()

    async def kill(self, link: Any, **how: Any) -> None:
        self.deaths += 1
        self.links.remove(link)
        link.die(**how)
        if self.ended is not None:
            self.ends.note(EndedMeta(link.id, self.ended.how, self.ended.by_itself))
        for _ in range(5):  # a gateway hears of the end long before there is another one
            await asyncio.sleep(0)
        if self.replaced:
            self.add(link.id)

    async def finish(self, futures: list[asyncio.Future[Any]]) -> list[Any]:
        """Work until all are answered; returns their answers and errors."""
        async with asyncio.timeout(TIMEOUT):
            while not all(future.done() for future in futures):
                await self.work()
                await asyncio.sleep(0)
        return await asyncio.gather(*futures, return_exceptions=True)


CRASHED = EndedMeta("", "ended with signal 11", by_itself=True)
KILLED = EndedMeta("", "ended with signal 9", by_itself=False)


def right(answer: Any, value: float) -> bool:
    return not isinstance(answer, Exception) and answer.outputs["y"][:, 0].tolist() == [2 * value]


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_lone_request_that_crashes_one_replica_is_not_sent_again(
    make_bench: Make, make_link: Make, replicas: int
) -> None:
    world = World(make_bench, make_link, replicas, CRASHED)
    (answer,) = await world.finish([world.bench.ask("killer", [DEADLY])])
    assert isinstance(answer, ModelFailed)
    assert "that computed this request ended with signal 11; the request is not" in answer.message
    assert answer.logged
    assert world.deaths == 1
    assert world.bench.observer.of("deadly") == [()]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("size", [2, 8, 40])
@pytest.mark.parametrize("ended", [CRASHED, KILLED, None])
async def test_the_rest_of_the_batch_gets_right_answers(
    make_bench: Make, make_link: Make, replicas: int, size: int, ended: EndedMeta | None
) -> None:
    world = World(make_bench, make_link, replicas, ended)
    values = [float(index) for index in range(size)]
    values[size // 3] = DEADLY
    asked = [world.bench.ask(str(index), [value]) for index, value in enumerate(values)]
    answers = await world.finish(asked)
    for answer, value in zip(answers, values, strict=True):
        assert isinstance(answer, ModelFailed) if value == DEADLY else right(answer, value)
    levels = 1 if size <= quarantine.PIECES else 2
    assert world.deaths <= levels + (1 if ended is CRASHED else quarantine.UNEXPLAINED - 1)
    queue = world.bench.queue
    assert queue.waiting_rows == 0
    assert all((link.busy, link.rows) == (0, 0) for link in world.links)


@pytest.mark.parametrize("ended", [KILLED, None])
async def test_what_may_have_been_anybodys_kill_has_to_repeat_itself(
    make_bench: Make, make_link: Make, ended: EndedMeta | None
) -> None:
    world = World(make_bench, make_link, 1, ended)
    (answer,) = await world.finish([world.bench.ask("killer", [DEADLY])])
    assert isinstance(answer, ModelFailed)
    assert world.deaths == quarantine.UNEXPLAINED


async def test_an_innocent_request_survives_kills_of_the_only_replica(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 1, KILLED)
    future = world.bench.ask("innocent", [3.0])
    for _ in range(quarantine.UNEXPLAINED - 1):
        await eventually(lambda: world.links[0].held)
        await world.kill(world.links[0], begun=1)
    (answer,) = await world.finish([future])
    assert right(answer, 3.0)


async def test_a_batch_that_lay_ready_is_no_suspect(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 2, CRASHED)
    dying, other = world.links
    other.open = False
    killer = world.bench.ask("killer", [DEADLY])
    await eventually(lambda: len(dying.held) == 1)
    ready = [world.bench.ask(name, [value]) for name, value in (("a", 1.0), ("b", 2.0))]
    await eventually(lambda: len(dying.held) == 2)
    other.open = True
    world.replaced = False
    await world.kill(dying, begun=1)
    answers = await world.finish([killer, *ready])
    assert isinstance(answers[0], ModelFailed)
    assert right(answers[1], 1.0)
    assert right(answers[2], 2.0)
    assert other.sent == [["a", "b"]]  # together, at once, with nobody to replace the dead one


async def test_suspects_spare_the_only_replica_that_is_left(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 2, CRASHED)
    world.replaced = False
    dying, other = world.links
    asked = [world.bench.ask("killer", [DEADLY]), world.bench.ask("innocent", [1.0])]
    await eventually(lambda: dying.held)
    await world.work()
    for value in range(20):
        (answer,) = await world.finish([world.bench.ask("other", [float(value)])])
        assert right(answer, float(value))
    assert other.sent == [["other"]] * 20
    assert not any(future.done() for future in asked)
    world.replaced = True
    world.add("again")
    answers = await world.finish(asked)
    assert isinstance(answers[0], ModelFailed)
    assert right(answers[1], 1.0)
    assert world.deaths == 2


@pytest.mark.parametrize("deadline_s", [None, 80.0])
async def test_one_death_that_may_be_bad_luck_is_a_reason_for_a_little_patience_only(
    make_bench: Make,
    make_link: Make,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
    deadline_s: float | None,
) -> None:
    patience_s = 0.3 if deadline_s is None else 60.0
    monkeypatch.setattr(quarantine, "PATIENCE_S", patience_s)
    monkeypatch.setattr(quarantine, "_OF_DEADLINE", 0.3 / 80)
    world = World(make_bench, make_link, 2, KILLED)
    world.replaced = False
    dying, other = world.links
    future = world.bench.ask("a", [1.0], timeout_s=deadline_s)
    await eventually(lambda: dying.held)
    await world.kill(dying, begun=1)
    assert not other.sent
    (answer,) = await world.finish([future])
    assert right(answer, 1.0)


async def test_suspects_have_a_replica_for_themselves(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 1, CRASHED)
    asked = [world.bench.ask("killer", [DEADLY]), world.bench.ask("a", [1.0])]
    await eventually(lambda: world.links[0].held)
    await world.work()
    (link,) = world.links
    await eventually(lambda: link.held)
    asked.append(world.bench.ask("b", [2.0]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert link.sent == [["killer"]]  # "b" waits although there are two slots
    world.replaced = False
    await world.work()
    world.add("new")  # before the next turn, so nobody is told that there is none
    answers = await world.finish(asked)
    assert isinstance(answers[0], ModelFailed)
    assert right(answers[1], 1.0)


async def test_suspects_wait_for_a_replacement_no_longer_than_they_may(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "WAIT_S", 0.3)
    monkeypatch.setattr(quarantine, "PATIENCE_S", 0.3)  # it is never the longer one
    world = World(make_bench, make_link, 1, KILLED)
    world.replaced = False
    future = world.bench.ask("a", [1.0])
    await eventually(lambda: world.links[0].held)
    await world.kill(world.links[0], begun=1)
    await asyncio.sleep(0)
    assert not future.done()
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)
    await eventually(lambda: not world.bench.batcher.lost.quarantine.busy)


@pytest.mark.parametrize("retired", ["before", "after"])
async def test_suspects_that_nobody_will_compute_are_told_at_once(
    make_bench: Make, make_link: Make, eventually: Wait, retired: str
) -> None:
    world = World(make_bench, make_link, 1, KILLED)
    world.replaced = False
    batcher, idle = world.bench.batcher, []
    future = world.bench.ask("a", [1.0])
    await eventually(lambda: world.links[0].held)
    if retired == "before":
        batcher.retire(lambda: idle.append(1))
    await world.kill(world.links[0], begun=1)
    if retired == "after":
        assert not future.done()
        batcher.retire(lambda: idle.append(1))
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)
    await eventually(lambda: idle)
    assert not world.bench.observer.of("retried") or retired == "after"


async def test_suspects_that_are_decided_about_after_the_end_are_told_then(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 1, None)
    world.ends.told = True  # and the control plane takes its time
    world.replaced = False
    batcher, idle = world.bench.batcher, []
    asked = [world.bench.ask("a", [1.0]), world.bench.ask("b", [2.0])]
    await eventually(lambda: world.links[0].held)
    await world.kill(world.links[0], begun=1)
    batcher.retire(lambda: idle.append(1))
    assert not any(future.done() for future in asked)
    assert not idle
    world.ends.note(EndedMeta("r0", KILLED.how, KILLED.by_itself))
    for future in asked:
        with pytest.raises(NoReplica):
            await asyncio.wait_for(future, TIMEOUT)
    await eventually(lambda: idle)


class Clock:
    """A loop's time that passes only when told, and the timers of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None], Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        handle = asyncio.get_running_loop().call_later(3600, lambda: None)
        self.timers.append((when, callback, handle))
        return handle

    async def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _when, callback, handle in due:
            if not handle.cancelled():
                callback()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_suspects_wait_for_their_turn_however_slow_replacements_are(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 2, KILLED)
    world.bench.batcher.lost.quarantine._loop = clock = Clock()
    world.replaced = False
    values = [DEADLY, 1.0, 2.0, 3.0]
    asked = [world.bench.ask(str(value), [value]) for value in values]
    await eventually(lambda: any(link.held for link in world.links))
    for number in range(quarantine.UNEXPLAINED):  # each turn of the killer costs a replica
        await world.work()
        assert world.deaths == number + 1
        await clock.pass_by(0.6 * quarantine.WAIT_S)
        assert sum(future.done() for future in asked) == (world.deaths == quarantine.UNEXPLAINED)
        world.add(f"again {number}")
        await eventually(lambda: any(link.held for link in world.links))
    answers = await world.finish(asked)
    assert isinstance(answers[0], ModelFailed)
    assert all(map(right, answers[1:], values[1:]))


async def test_a_long_computation_of_one_ends_no_other_suspects_wait(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 1, KILLED)
    world.bench.batcher.lost.quarantine._loop = clock = Clock()
    asked = [world.bench.ask(str(value), [value]) for value in (1.0, 2.0)]
    await eventually(lambda: world.links[0].held)
    await world.kill(world.links[0], begun=1)
    await eventually(lambda: world.links[0].held)
    await clock.pass_by(2 * quarantine.WAIT_S)
    assert world.links[0].sent == [["1.0"]]
    assert all(map(right, await world.finish(asked), (1.0, 2.0)))


async def test_nobody_else_fails_with_the_last_replica_that_suspects_take_along(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "PATIENCE_S", 0.0)  # a replacement takes longer
    world = World(make_bench, make_link, 2, KILLED)
    world.replaced = False
    killer = world.bench.ask("killer", [DEADLY])
    await eventually(lambda: any(link.held for link in world.links))
    await world.work()
    (last,) = world.links
    await eventually(lambda: last.held)
    early = world.bench.ask("early", [1.0])
    await world.work()
    assert not world.links
    late = world.bench.ask("late", [2.0])
    world.replaced = True
    world.add("r0")
    world.add("r1")
    answers = await world.finish([killer, early, late])
    assert isinstance(answers[0], ModelFailed)
    assert all(map(right, answers[1:], (1.0, 2.0)))
    assert world.deaths == quarantine.UNEXPLAINED


async def test_a_hang_is_evidence_that_the_gateway_has_itself(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    world = World(make_bench, make_link, 2, None)
    future = world.bench.ask("hangs", [1.0], timeout_s=0.01)
    await eventually(future.done)  # its client has been told that it is too late
    link = next(link for link in world.links if link.held)
    await world.kill(link, begun=1, busy_s=Replicas().hang_timeout_s + 1)
    with pytest.raises(ModelFailed, match="same inputs took too long"):
        world.bench.ask("retry", [1.0])
    assert world.deaths == 1


async def test_what_another_server_computes_is_never_suspected(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench = make_bench(replicas=None)
    links = [make_link(str(index), manual=True) for index in range(3)]
    for link in links:
        bench.batcher.add_link(link)
    future = bench.ask("a")
    for _ in range(2):
        await eventually(lambda: any(link.held for link in links))
        next(link for link in links if link.held).die(begun=None)
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)


async def test_a_retry_of_a_deadly_request_reaches_no_replica(
    make_bench: Make, make_link: Make
) -> None:
    world = World(make_bench, make_link, 2, CRASHED)
    await world.finish([world.bench.ask("killer", [DEADLY])])
    for _ in range(3):
        with pytest.raises(ModelFailed, match="'m' that computed the same inputs ended with"):
            world.bench.ask("again", [DEADLY])
    (answer,) = await world.finish([world.bench.ask("other", [665.0])])
    assert right(answer, 665.0)
    assert world.deaths == 1
    assert len(world.bench.observer.of("deadly")) == 4


@pytest.mark.parametrize("ended", [CRASHED, KILLED])
async def test_many_that_ask_the_same_at_once_end_no_more_replicas(
    make_bench: Make, make_link: Make, ended: EndedMeta
) -> None:
    world = World(make_bench, make_link, 2, ended)
    asked = []
    for turn in range(4):  # some share a batch, some lie ready, some wait
        asked += [world.bench.ask(f"killer {turn}", [DEADLY]) for _ in range(8)]
        asked.append(world.bench.ask("innocent", [1.0], flow=turn))
        await asyncio.sleep(0)
    answers = await world.finish(asked)
    assert sum(isinstance(answer, ModelFailed) for answer in answers) == 32
    assert sum(right(answer, 1.0) for answer in answers) == 4
    assert world.deaths <= (8 if ended is CRASHED else 12)


async def test_a_part_of_a_large_request_is_found_and_remembered(
    make_bench: Make, make_link: Make
) -> None:
    world = World(make_bench, make_link, 1, CRASHED)
    most = DEFAULT_MAX_BATCH_ROWS
    rows = np.arange(2.0 * most) % 100
    rows[most + 1] = DEADLY
    (answer,) = await world.finish([world.bench.ask("large", rows)])
    assert isinstance(answer, ModelFailed)
    deaths = world.deaths
    (answer,) = await world.finish([world.bench.ask("large", rows)])
    assert isinstance(answer, ModelFailed)
    assert world.deaths == deaths
