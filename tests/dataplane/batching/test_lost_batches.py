"""What a lost replica held: who is sent again, who is answered, who is refused from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows
from serving.config import Batching, Replicas
from serving.dataplane.batching.deadly_requests import deadly_request
from serving.dataplane.batching.lost_batches import MOST_AGAIN, LostBatches
from serving.dataplane.links.link import ReplicaLost
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.errors import ModelFailed, NoReplica

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60


class Owner:
    """What a batcher is for its lost batches: a queue, links, and an observer that raises."""

    def __init__(self, links: list[Any], replicas: Replicas | None = None) -> None:
        self.links = links
        self.awaited = False
        self.changes = 0
        self.told: list[Any] = []
        self.removed: list[Any] = []
        self.queue = RequestQueue("m", Batching(), 8, lambda _item: None)
        self.lost = LostBatches(
            "m", "1", self.queue, self.remains, replicas, None, self, self.tell, self.change  # type: ignore[arg-type]
        )  # fmt: skip

    def tell(self, what: Callable[..., None], *arguments: object) -> None:
        what(*arguments)

    def remains(self) -> bool:
        return bool(self.links) or self.awaited

    def change(self) -> None:
        self.changes += 1

    def retried(self, requests: int) -> None:
        self.told.append(requests)

    def deadly(self) -> None:
        self.told.append("deadly")

    def remove(self, link: Any) -> None:
        self.links.remove(link)
        self.removed.append(link)

    def lose(self, batch: Batch, **how: Any) -> None:
        self.lost.take(self.links[0], batch, ReplicaLost("r0", **how), self.remove)


def batch(*values: float, attempts: int = 0) -> Batch:
    items = []
    for value in values:
        bound = Bound((np.full((1, 2), value, np.float32),), 1, ((2,),), (), None)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        items.append(Pending(str(value), bound, future, 0.0))
        items[-1].attempts = attempts
    return Batch(("x",), items, 0.0)


async def test_what_was_not_begun_is_sent_again_ahead_and_is_told(make_link: Make) -> None:
    owner = Owner([make_link("dying"), make_link("other")])
    sent = batch(1.0, 2.0, 3.0)
    sent.items[1].future.cancel()
    owner.lose(sent, begun=False)
    assert owner.queue.returned == [[sent.items[0], sent.items[2]]]
    assert (owner.queue.waiting_rows, owner.changes, owner.told) == (2, 1, [2])
    assert [link.id for link in owner.removed] == ["dying"]


@pytest.mark.parametrize(
    ("replicas", "attempts", "again"),
    [(None, 0, True), (None, 1, False), (Replicas(), MOST_AGAIN - 1, True),
     (Replicas(), MOST_AGAIN, False)],
)  # fmt: skip
async def test_nobody_is_sent_again_for_ever(
    make_link: Make, replicas: Any, attempts: int, again: bool
) -> None:
    owner = Owner([make_link("dying"), make_link("other")], replicas)
    sent = batch(1.0, attempts=attempts)
    owner.lose(sent, begun=False)
    assert bool(owner.queue.returned) == again
    future = sent.items[0].future
    assert again or isinstance(future.exception(), NoReplica)
    assert future.done() != again


async def test_with_nobody_left_all_are_answered(make_link: Make) -> None:
    owner = Owner([make_link("dying")])
    sent = batch(1.0, 2.0)
    owner.lose(sent, begun=False)
    assert all(isinstance(item.future.exception(), NoReplica) for item in sent.items)
    assert (owner.queue.waiting_rows, owner.told) == (0, [])


async def test_with_a_replacement_awaited_all_are_sent_again(make_link: Make) -> None:
    owner = Owner([make_link("dying")], Replicas())
    owner.awaited = True
    sent = batch(1.0, 2.0)
    owner.lose(sent, begun=False)
    assert owner.queue.returned == [sent.items]
    assert owner.told == [2]


async def test_a_link_behind_which_others_answer_stays(make_link: Make) -> None:
    owner = Owner([make_link("pool")])
    owner.lose(batch(1.0), begun=False, link_lost=False)
    assert (owner.removed, owner.told) == ([], [1])


@pytest.mark.parametrize("begun", [True, None])
async def test_what_may_have_ended_a_replica_is_not_sent_at_once(
    make_link: Make, begun: bool | None
) -> None:
    owner = Owner([make_link("dying"), make_link("other")], Replicas(min=2))
    owner.lose(batch(1.0, 2.0), begun=begun)
    assert not owner.queue.returned
    assert len(owner.lost.quarantine.held) == 2
    assert owner.told == [2]


async def test_who_asks_what_ends_replicas_is_refused_waiting_or_not(make_link: Make) -> None:
    owner = Owner([make_link()], Replicas())
    waits, returned, asks, other = batch(6.0, 6.0, 6.0, 1.0).items
    owner.queue.append(waits)
    owner.queue.put_back([returned])
    assert not owner.lost.refuses
    owner.lost.refuse(deadly_request(asks.bound, "crashed"))
    for item in (waits, returned):
        assert isinstance(item.future.exception(), ModelFailed)
    assert owner.lost.refuses
    with pytest.raises(ModelFailed, match="same inputs crashed"):
        owner.lost.require_harmless(asks)
    assert owner.told == ["deadly"]
    owner.lost.require_harmless(other)
    assert owner.lost.refuses


async def test_nothing_is_asked_any_more_once_the_last_is_forgotten(make_link: Make) -> None:
    owner = Owner([make_link()], Replicas())
    (asks,) = batch(6.0).items
    owner.lost.refuse(deadly_request(asks.bound, "crashed"))
    owner.lost.quarantine.deadly._known.clear()
    owner.lost.require_harmless(asks)
    assert not owner.lost.refuses


class Counting:
    name = "counting"
    stage = Stage.INPUT
    needs = Needs(inputs=True)
    action = Action.FLAG

    def __init__(self) -> None:
        self.rows: list[float] = []

    def check(self, rows: Rows) -> Decisions:
        self.rows += rows.inputs["x"][:, 0].tolist()
        return Decisions(self.name, np.zeros(rows.n, np.uint8), {})


async def test_what_a_lost_replica_held_does_not_pass_the_guards_again(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    guard = Counting()
    bench = make_bench([guard])
    dying, other = make_link("dying", manual=True), make_link("other", manual=True)
    bench.batcher.add_link(dying)
    first = bench.ask("first", [1.0])
    await eventually(lambda: dying.held)
    bench.batcher.add_link(other)
    second = bench.ask("second", [2.0])
    await eventually(lambda: other.held)
    third = bench.ask("third", [3.0])
    dying.die()
    await asyncio.sleep(0)
    other.manual = False
    while other.held:
        other.answer()
    for future in (first, second, third):
        await asyncio.wait_for(future, TIMEOUT)
    assert other.sent == [["second"], ["first"], ["third"]]
    assert guard.rows == [1.0, 2.0, 3.0]
