"""A request is settled once, and whoever is told of it spoils nothing; parts know their whole."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from serving.dataplane.context import RequestContext
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.decisions import RowDecision
from serving.dataplane.requests.pending import Pending, Whole
from serving.errors import ModelFailed


def pending(rows: int = 1) -> Pending:
    bound = Bound((np.zeros((rows, 1)),), rows, ((1,),), (), None)
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return Pending("i", bound, future, 0.0)


async def test_it_begins_with_what_it_was_given() -> None:
    receive = asyncio.Event().wait
    context = RequestContext(client="ana", disconnect=receive)
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    bound = pending().bound
    item = Pending("i", bound, future, 2.5, ("f", 1), context, "canary")
    assert (item.id, item.bound, item.future, item.enqueued) == ("i", bound, future, 2.5)
    assert (item.flow, item.context, item.receive, item.arm) == (
        ("f", 1),
        context,
        receive,
        "canary",
    )
    assert (item.priority, item.attempts, item.flags, item.decisions) == (0, 0, [], None)
    assert (item.response_parameters, item.timer, item.whole, item.on_done) == (None,) * 4
    whole = Whole(item)
    assert (whole.item, whole.size, whole.futures) == (item, 0, [])
    assert (whole.upstream, whole.formed) == ("", 0.0)


async def test_decisions_of_a_part_are_those_of_its_whole() -> None:
    whole, parts = parted()
    parts[1].decided("g", 0, Action.FLAG, "far")
    assert whole.item.decisions == [RowDecision("g", 2, Action.FLAG, "far")]
    assert parts[1].decisions is None
    alone = pending()
    alone.decided("g", 0, Action.REJECT, "odd")
    assert alone.decisions == [RowDecision("g", 0, Action.REJECT, "odd")]


async def test_scores_of_a_part_are_those_of_its_rows_in_its_whole() -> None:
    whole, parts = parted()
    parts[1].scored("g", np.float32([0.5]))
    assert whole.item.scores is not None
    np.testing.assert_array_equal(whole.item.scores["g"], np.float32([np.nan, np.nan, 0.5]))
    parts[0].scored("g", np.float32([1, 2]))
    assert whole.item.scores["g"].tolist() == [1, 2, 0.5]
    assert parts[0].scores is None
    alone = pending()
    assert alone.scores is None
    alone.scored("g", scores := np.float32([3]))
    assert alone.scores is not None
    assert alone.scores["g"] is scores


@pytest.mark.parametrize("first", ["answer", "fail"])
async def test_it_is_settled_once_and_tells_once(first: str) -> None:
    item = pending()
    told: list[bool] = []
    item.on_done = lambda: told.append(item.future.done())
    settle: list[Any] = [lambda: item.answer({}), lambda: item.fail(ModelFailed("no"))]
    for one in settle if first == "answer" else reversed(settle):
        one()
    assert told == [True]
    assert (item.future.exception() is None) == (first == "answer")


@pytest.mark.parametrize("how", ["answer", "fail"])
async def test_whoever_is_told_and_raises_costs_no_answer(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    item = pending()
    item.on_done = lambda: 1 / 0  # type: ignore[assignment, return-value]
    if how == "answer":
        item.answer({})
    else:
        item.fail(ModelFailed("no"))
    assert item.future.done()
    assert item.future.exception() is None or how == "fail"
    assert "an answer was not passed on to its client" in caplog.text


def parted() -> tuple[Whole, list[Pending]]:
    whole = Whole(pending(3))
    parts = [pending(2), pending(1)]
    whole.futures = [part.future for part in parts]
    for part, first_row in zip(parts, (0, 2), strict=True):
        part.whole, part.first_row = whole, first_row
    return whole, parts


async def test_parts_are_put_together_in_the_order_of_their_rows() -> None:
    whole, parts = parted()
    parts[1].answer({"y": np.array([3])})
    parts[0].answer({"y": np.array([1, 2])})
    assert whole.outputs()["y"].tolist() == [1, 2, 3]
    assert whole.outputs() is whole.outputs()  # joined once
    assert [whole.begins_with(part) for part in parts] == [True, False]


@pytest.mark.parametrize("end", ["answer", "fail", "cancel", None])
async def test_it_is_complete_once_and_only_when_it_is_answered(end: str | None) -> None:
    whole, _ = parted()
    if end == "answer":
        whole.item.answer({})
    elif end == "fail":
        whole.item.fail(ModelFailed("no"))
        whole.item.future.exception()
    elif end == "cancel":
        whole.item.future.cancel()
    assert [whole.complete() for _ in range(2)] == [end == "answer", False]
