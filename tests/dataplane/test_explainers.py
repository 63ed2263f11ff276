"""Asking explainers over real sockets: bounded times, and none waits for another's connection."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.explanation import ExplainMeta
from serving.channel.peer import State
from serving.dataplane.explainers import ExplainerPool
from serving.errors import DeadlineExceeded, ModelNotReady
from serving.protocol.messages import Tensor

SOON = ExplainMeta(timeout_s=0.05)
LATE = ExplainMeta(timeout_s=60)


class FakeExplainer:
    """Answers every question; not at all while it is `silent`."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model = model
        self.address = f"unix:{folder}/{model}.sock"
        self.silent = False
        self.asked = 0
        self.server = ChannelServer(self._message)

    def _message(self, connection: Connection, message: Message) -> None:
        self.asked += 1
        if not self.silent:
            connection.reply(message.id, self.model)

    @property
    def member(self) -> Member:
        return Member("explainer", self.model, 1, self.address, self.model, "1")


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[FakeExplainer]:
    made = FakeExplainer("quick", tmp_path)
    await made.server.start(made.address)
    yield made
    made.server.close()


@pytest.fixture
async def mute(tmp_path: Path) -> AsyncIterator[Member]:
    """An explainer that accepts connections and never shakes hands."""
    address = f"{tmp_path}/mute.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        yield Member("explainer", "mute", 1, f"unix:{address}", "mute", "1")


@pytest.fixture
async def pool(quick: FakeExplainer, mute: Member) -> AsyncIterator[ExplainerPool]:
    made = ExplainerPool(None, patience_s=0.5)
    made.on_directory(Directory(1, (), (quick.member, mute)))
    yield made
    made.close()
    await asyncio.sleep(0)


async def test_one_that_does_not_connect_holds_up_no_other(pool: ExplainerPool) -> None:
    waiting = asyncio.create_task(pool.explain("mute", "1", LATE, ()))
    await asyncio.sleep(0)
    assert (await pool.explain("quick", "1", LATE, ())).kind == "reply"
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_connecting_counts(pool: ExplainerPool) -> None:
    patient = asyncio.create_task(pool.explain("mute", "1", LATE, ()))
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s.*explain\.max_seconds"):
        await pool.explain("mute", "1", SOON, ())
    # Whoever waits longer still waits for the connection that the other gave up on.
    assert not patient.done()
    pool.close()
    with pytest.raises(ModelNotReady, match="went away"):
        await patient


async def test_a_deadline_ends_only_its_own_question(
    pool: ExplainerPool, quick: FakeExplainer
) -> None:
    quick.silent = True
    with pytest.raises(DeadlineExceeded, match="of model 'quick' within"):
        await pool.explain("quick", "1", SOON, ())
    quick.silent = False
    assert (await pool.explain("quick", "1", LATE, ())).kind == "reply"
    assert len(quick.server.connections) == 1


async def test_one_that_went_away_is_reached_again(
    pool: ExplainerPool, quick: FakeExplainer
) -> None:
    quick.silent = True
    asking = asyncio.create_task(pool.explain("quick", "1", LATE, ()))
    async with asyncio.timeout(60):
        while not quick.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    for connection in list(quick.server.connections):
        connection.abort()
    with pytest.raises(ModelNotReady, match="went away"):
        await asking
    quick.silent = False
    assert (await pool.explain("quick", "1", LATE, ())).kind == "reply"
    with pytest.raises(ModelNotReady, match="not ready"):
        await pool.explain("quick", "2", LATE, ())


async def test_one_that_cannot_be_reached_yet_is_tried_again(quick: FakeExplainer) -> None:
    quick.server.close()
    pool = ExplainerPool(None)
    pool.on_directory(Directory(1, (), (quick.member,)))
    asking = asyncio.create_task(pool.explain("quick", "1", LATE, ()))
    await asyncio.wait({asking}, timeout=0.3)
    assert not asking.done()
    again = ChannelServer(quick._message)
    await again.start(quick.address)
    assert (await asking).kind == "reply"
    pool.close()
    again.close()


async def test_one_that_died_before_it_was_asked_is_asked_where_it_is_now(
    quick: FakeExplainer, tmp_path: Path
) -> None:
    dead = Member("explainer", "quick", 1, f"unix:{tmp_path}/dead.sock", "quick", "1")
    pool = ExplainerPool(None)
    pool.on_directory(Directory(1, (), (dead,)))
    asking = asyncio.create_task(pool.explain("quick", "1", LATE, ()))
    await asyncio.wait({asking}, timeout=0.1)
    pool.on_directory(Directory(2, (), (quick.member,)))
    assert (await asking).kind == "reply"
    pool.close()


async def test_one_that_is_never_reached_is_told_after_the_patience(tmp_path: Path) -> None:
    dead = Member("explainer", "quick", 1, f"unix:{tmp_path}/dead.sock", "quick", "1")
    pool = ExplainerPool(None, patience_s=0.3)
    pool.on_directory(Directory(1, (), (dead,)))
    with pytest.raises(ModelNotReady, match="went away"):
        await pool.explain("quick", "1", LATE, ())
    pool.close()


async def test_one_that_is_still_starting_is_waited_for(quick: FakeExplainer) -> None:
    pool = ExplainerPool(None)
    asking = asyncio.create_task(pool.explain("quick", "1", LATE, ()))
    await asyncio.sleep(0)
    pool.on_directory(Directory(1))
    await asyncio.sleep(0)
    assert not asking.done()
    pool.on_directory(Directory(2, (), (quick.member,)))
    assert (await asking).kind == "reply"
    pool.close()


async def test_the_first_question_orders_it_once_and_the_next_do_not(quick: FakeExplainer) -> None:
    pool = ExplainerPool(None)
    orders: list[tuple[str, str]] = []
    there = asyncio.Event()

    async def order(model: str, version: str) -> None:
        orders.append((model, version))
        await there.wait()

    pool.order = order
    asking = [asyncio.create_task(pool.explain("quick", "1", LATE, ())) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who gives up takes the order from nobody
    await asyncio.sleep(0.01)
    assert orders == [("quick", "1")]
    there.set()
    await asyncio.sleep(0)
    pool.on_directory(Directory(1, (), (quick.member,)))
    assert {(await task).kind for task in asking[1:]} == {"reply"}
    await pool.explain("quick", "1", LATE, ())
    assert orders == [("quick", "1")]
    pool.close()


async def test_why_it_cannot_be_started_is_told_at_once_and_it_is_ordered_again() -> None:
    pool = ExplainerPool(None)
    orders = 0

    async def order(model: str, version: str) -> None:
        nonlocal orders
        orders += 1
        raise ModelNotReady(f"{model} has no weights", retry_after_s=5)

    pool.order = order
    for asked in (1, 2):
        with pytest.raises(ModelNotReady, match="quick has no weights") as caught:
            await pool.explain("quick", "1", LATE, ())
        assert caught.value.retry_after_s == 5
        assert orders == asked
    pool.close()


async def test_one_that_does_not_come_is_waited_for_no_longer_than_was_asked() -> None:
    pool = ExplainerPool(None, patience_s=60)
    with pytest.raises(ModelNotReady, match="not ready"):
        await pool.explain("absent", "1", SOON, ())
    pool.close()


async def test_what_was_asked_of_one_that_cannot_be_reached_goes_with_the_question(
    tmp_path: Path,
) -> None:
    """Regression: the pool kept the error of its attempt, and that who had waited for it."""
    pool = ExplainerPool(None, patience_s=0.3)
    gone = Member("explainer", "gone", 1, f"unix:{tmp_path}/gone.sock", "gone", "1")
    pool.on_directory(Directory(1, (), (gone,)))
    rows = np.zeros((2, 3), np.float32)
    left = weakref.ref(rows)
    tensor = Tensor("x", "FP32", (2, 3), rows)
    del rows
    gc.disable()
    try:
        for asking in [pool.explain("gone", "1", LATE, (tensor,)) for _ in range(2)]:
            task = asyncio.create_task(asking)
            await asyncio.wait({task})
            assert isinstance(task.exception(), ModelNotReady)
            del task, asking
        del tensor
        assert left() is None
    finally:
        gc.enable()
    pool.close()


async def test_one_that_the_directory_has_no_more_is_kept_until_it_is_lost(
    pool: ExplainerPool, quick: FakeExplainer
) -> None:
    """A control plane that has restarted knows nobody; nobody comes back to what is gone."""
    await pool.explain("quick", "1", LATE, ())
    quick.silent = True
    asking = asyncio.create_task(pool.explain("quick", "1", LATE, ()))
    async with asyncio.timeout(60):
        while quick.asked < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    pool.on_directory(Directory(2))
    (peer,) = pool._peers.values()
    assert peer.state is State.UP
    for connection in list(quick.server.connections):
        connection.abort()
    with pytest.raises(ModelNotReady, match="went away"):
        await asking
    assert peer.state is State.CLOSED
    assert not pool._peers
