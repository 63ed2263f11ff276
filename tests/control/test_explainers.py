"""Explainers on demand: ordered over a real control plane, and by what it keeps of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import connect
from serving.channel.messages.control import EXPLAINER, FAILED, ExplainerMeta, FailedMeta
from serving.channel.messages.directory import Member, ServedModel
from serving.control import explainers
from serving.control.explainers import FIRST_PAUSE_S, LONGEST_PAUSE_S, ON_DEMAND, Explainers
from serving.control.instance_status import instance_status
from serving.control.registry import Registry
from serving.errors import ModelNotReady

Wait = Callable[[Callable[[], object]], Awaitable[None]]
SERVED = ServedModel("m", "1", b"", "/nowhere", None, "r")
ASKED = ExplainerMeta("m", "1")
KEY = SERVED.key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Explainers:
    made = Explainers(clock)
    made.follow([SERVED])
    return made


async def soon(kept: Explainers) -> asyncio.Task[None]:
    task = asyncio.create_task(kept.wanted(ASKED))
    await asyncio.sleep(0)
    return task


async def refused(kept: Explainers) -> ModelNotReady:
    with pytest.raises(ModelNotReady) as caught:
        await (await soon(kept))
    return caught.value


async def test_it_is_started_by_the_first_question_only(kept: Explainers) -> None:
    changes: list[tuple[ServedModel, ...]] = []
    kept.on_change = lambda: changes.append(kept.asked)
    assert (kept.state(KEY), kept.asked) == (ON_DEMAND, ())
    first, second = await soon(kept), await soon(kept)
    assert (kept.state(KEY), changes) == ("starting", [(SERVED,)])
    kept.joined(KEY)
    await asyncio.gather(first, second)
    await kept.wanted(ASKED)
    assert (kept.state(KEY), changes) == ("ready", [(SERVED,)])
    kept.follow([])
    assert changes == [(SERVED,), ()]


async def test_one_that_cannot_load_is_tried_again_by_questions_only_and_ever_later(
    kept: Explainers, clock: Clock
) -> None:
    starts = 0

    def changed() -> None:
        nonlocal starts
        starts += len(kept.asked)

    kept.on_change = changed
    pause = FIRST_PAUSE_S
    for tried in range(1, 9):
        asking = await soon(kept)
        assert starts == tried
        kept.failed(KEY, "its file is gone")
        kept.ended(KEY, "its process ended with exit code 1")  # which is no other failure
        with pytest.raises(ModelNotReady, match="could not be started: its file is gone") as told:
            await asking
        assert told.value.retry_after_s == min(pause, LONGEST_PAUSE_S)
        assert kept.state(KEY) == "could not be started: its file is gone"
        for _ in range(3):
            await refused(kept)
        clock.now += min(pause, LONGEST_PAUSE_S)
        assert starts == tried
        pause *= 2
    asking = await soon(kept)
    kept.joined(KEY)
    await asking
    assert kept.state(KEY) == "ready"


async def test_one_that_ends_without_a_word_has_failed_unless_it_was_there(
    kept: Explainers,
) -> None:
    asking = await soon(kept)
    kept.joined(KEY)
    await asking
    kept.left(KEY)
    kept.ended(KEY, "its process ended with signal 9")
    assert kept.state(KEY) == ON_DEMAND
    asking = await soon(kept)
    assert kept.asked == (SERVED,)
    kept.ended(KEY, "its process ended with signal 9")
    with pytest.raises(ModelNotReady, match="signal 9"):
        await asking
    assert kept.asked == ()


async def test_a_question_does_not_wait_for_ever(
    kept: Explainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainers, "START_S", 0.01)
    assert "still starting" in (await refused(kept)).message
    assert kept.asked == (SERVED,)  # for whoever asks next


async def test_what_is_not_served_is_not_explained(kept: Explainers) -> None:
    asking = await soon(kept)
    kept.follow([])
    kept.joined(KEY)  # wakes it, too late
    with pytest.raises(ModelNotReady, match="not served"):
        await asking
    kept.restore([KEY])
    assert kept.asked == ()
    kept.follow([SERVED])
    kept.left(KEY)
    kept.restore([KEY])
    assert (kept.asked, kept.state(KEY)) == ((SERVED,), "starting")


async def test_a_gateway_asks_the_registry(
    registry: Registry, address: str, join: Any, eventually: Wait, served: ServedModel
) -> None:
    registry.set_models([served])
    assert [each.explainer for each in instance_status(registry).models] == [ON_DEMAND]
    connection: Connection = await connect(address)
    order = ExplainerMeta(served.name, served.version)

    asking = connection.request(EXPLAINER, order)
    await eventually(lambda: registry.explainers.asked)
    failed = FailedMeta(*served.key, "no luck", "explainer")
    connection.notify(FAILED, failed)
    with pytest.raises(ModelNotReady, match="no luck"):
        await asking
    assert registry.failures.of(served.key) is None  # its replicas are well

    registry.explainers.follow([])
    registry.set_models([served])
    asking = connection.request(EXPLAINER, order)
    await eventually(lambda: registry.explainers.asked)
    join(Member("explainer", "e", 12, "unix:/e", *served.key[:2], revision=served.revision))
    assert msgspec.msgpack.decode((await asking).meta) is None
    assert instance_status(registry).models[0].explainer == "ready"
    connection.close()
