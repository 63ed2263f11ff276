"""Which link takes a batch, and that what comes back is passed on once, whatever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import sentinel

import numpy as np
import pytest

from serving.dataplane.batching.dispatching import Dispatcher
from serving.dataplane.links.link import ChannelLink
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]


def batch(rows: int = 1) -> Batch:
    bound = Bound((np.zeros((rows, 2), np.float32),), rows, ((2,),), (), None)
    return Batch(("x",), [Pending("", bound, sentinel.future, 0.0)], 0.0)


class Taken:
    def __init__(self) -> None:
        self.results: list[Any] = []

    def __call__(self, _link: Any, _batch: Batch, result: Any) -> None:
        self.results.append(result)


@pytest.mark.parametrize(
    ("links", "free"),
    [
        ([], None),
        ([("a", 2, 1, 5, True)], "a"),
        ([("a", 1, 1, 1, True)], None),
        ([("a", 1, 0, 0, False)], None),
        ([("a", 2, 1, 5, True), ("b", 2, 1, 4, True)], "b"),
        ([("a", 2, 1, 4, True), ("b", 3, 2, 4, True)], "a"),
        ([("a", 2, 0, 0, True), ("b", 2, 0, 0, True)], "a"),
        ([("a", 2, 0, 0, False), ("b", 1, 1, 1, True), ("c", 2, 1, 9, True)], "c"),
    ],
)
async def test_the_least_busy_open_link_with_a_free_slot(
    make_link: Make, links: list[tuple[str, int, int, int, bool]], free: str | None
) -> None:
    dispatcher = Dispatcher(0.0)
    for ident, slots, busy, rows, is_open in links:
        link = make_link(ident, slots)
        link.busy, link.rows, link.open = busy, rows, is_open
        dispatcher.links.append(link)
    found = dispatcher.free_link()
    assert (found and found.id) == free
    assert [link.id for link in dispatcher.open_links] == [one[0] for one in links if one[4]]


async def test_a_batch_under_way_holds_a_slot_until_it_is_released(
    make_link: Make, eventually: Wait
) -> None:
    dispatcher, link, taken = Dispatcher(0.0), make_link(slots=2, manual=True), Taken()
    first, second = batch(3), batch(2)
    dispatcher.send(link, first, taken)
    dispatcher.send(link, second, taken)
    assert (link.busy, link.rows) == (2, 5)
    assert (first.alone, second.alone) == (True, False)
    await eventually(lambda: len(link.held) == 2)
    link.answer()
    await eventually(lambda: taken.results)
    dispatcher.release(link, first)
    assert (link.busy, link.rows) == (1, 2)


async def test_what_comes_next_is_awaited_busily_only_for_a_request_that_is_alone(
    make_link: Make,
) -> None:
    dispatcher, link, taken = Dispatcher(0.0), make_link(slots=3, manual=True), Taken()
    told: list[bool] = []
    dispatcher._busy_poll = SimpleNamespace(expect=lambda _what, alone: told.append(alone))  # type: ignore[assignment]
    one, other, pair = batch(), batch(), batch()
    pair.items.append(pair.items[0])
    for sent in (one, other):
        dispatcher.send(link, sent, taken)
    assert told == [True, False]
    dispatcher.release(link, one)
    dispatcher.release(link, other)
    assert told[2:] == [False, True]
    dispatcher.send(link, pair, taken)
    dispatcher.release(link, pair)
    assert told[4:] == [False, False]


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_error_is_passed_on_and_never_raised(
    make_link: Make, eventually: Wait, at_once: bool
) -> None:
    dispatcher, link, taken = Dispatcher(0.0), make_link(manual=True), Taken()
    error = ValueError("cannot be encoded")

    def refuse(_batch: Batch) -> Any:
        raise error

    if at_once:
        link.send = refuse
    dispatcher.send(link, batch(), taken)
    assert not taken.results  # only in a later turn: who sends is not done yet
    if not at_once:
        await eventually(lambda: link.held)
        link.fail(error)
    await eventually(lambda: taken.results)
    assert taken.results == [error]


async def test_what_is_cancelled_is_passed_on_as_that(make_link: Make, eventually: Wait) -> None:
    dispatcher, link, taken = Dispatcher(0.0), make_link(manual=True), Taken()
    dispatcher.send(link, batch(), taken)
    await eventually(lambda: link.held)
    link.held.pop()[1].cancel()
    await eventually(lambda: taken.results)
    assert isinstance(taken.results[0], asyncio.CancelledError)


class Sharing:
    """A connection whose peer shares memory."""

    closed = draining = False

    def __init__(self, name: str) -> None:
        self.name = name

    def receive_buffer(self, size: int, skip: int) -> Any:
        return (self.name, size, skip)


async def test_a_body_lands_with_the_replica_that_will_get_it(make_link: Make) -> None:
    dispatcher = Dispatcher(0.0)
    assert dispatcher.receive_buffer(100, 9) is None
    busy, idle, closed = (
        ChannelLink(name, Sharing(name), 1, {})  # type: ignore[arg-type]
        for name in ("busy", "idle", "closed")
    )
    busy.rows, busy.busy, idle.rows, idle.busy = 9, 1, 3, 1  # all slots taken: it waits for one
    closed.connection.closed = True
    dispatcher.links += [closed, busy, idle]
    assert dispatcher.receive_buffer(100, 9) == ("idle", 100, 9)
    dispatcher.links.append(make_link())  # the least busy one shares nothing
    assert dispatcher.receive_buffer(100, 9) is None
