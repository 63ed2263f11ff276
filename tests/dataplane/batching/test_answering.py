"""What came back for a batch: who gets which rows, what is learned, what the books are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from guards.runner import GuardRunner
from serving.channel.messages.inference import (
    BatchResult,
    GuardResult,
    ResponseParameters,
    ResultMeta,
)
from serving.config import Batching
from serving.dataplane.batching.answering import Answering
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.decisions import RowDecision
from serving.dataplane.requests.pending import Pending
from serving.errors import GuardRejected, ModelFailed, NoReplica, QueueFull

Make = Callable[..., Any]


class Owner:
    """What a batcher is for the answers of its batches."""

    def __init__(self, **batching: Any) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.sizing = BatchSizing(Batching(**batching))
        guards = GuardStage("m", GuardRunner([]), self, self.tell)  # type: ignore[arg-type]
        self.answering = Answering("m", "1", guards, self.sizing, self, self.tell)  # type: ignore[arg-type]

    def tell(self, what: Callable[..., None], *arguments: Any) -> None:
        what(*arguments)

    def answered(self, batch: Batch, result: BatchResult, now: float) -> None:
        self.told.append((batch, result, now))


def batch(*rows: int) -> Batch:
    items = []
    for number, count in enumerate(rows):
        bound = Bound((np.full((count, 2), float(number)),), count, ((2,),), (), None)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        items.append(Pending(str(number), bound, future, 0.0))
    return Batch(("x",), items, 0.0)


def result(rows: int, **meta: Any) -> BatchResult:
    fields: dict[str, Any] = {"failed": {}, "guards": (), "compute_ns": 10**9, "guard_ns": 0}
    return BatchResult({"y": np.arange(rows)}, ResultMeta(**{**fields, **meta}))


async def test_everybody_gets_their_rows_and_the_books_come_a_turn_later() -> None:
    owner, sent = Owner(), batch(2, 1)
    timer = asyncio.get_running_loop().call_later(1e9, lambda: None)
    sent.items[0].timer = timer
    said = ResponseParameters({"n": 1}, {})
    came = result(3, response_parameters={1: said})
    owner.answering.finish(sent, came)
    answers = [item.future.result() for item in sent.items]
    assert [answer.outputs["y"].tolist() for answer in answers] == [[0, 1], [2]]
    assert [answer.response_parameters for answer in answers] == [None, said]
    assert timer.cancelled()
    assert sent.ended > 0
    assert not owner.told
    await asyncio.sleep(0)
    ((*told, now),) = owner.told
    assert told == [sent, came]
    assert now >= sent.ended


async def test_who_failed_fails_alone_with_its_own_error() -> None:
    owner, sent = Owner(), batch(1, 2, 1)
    owner.answering.finish(sent, result(2, failed={0: "poison", 2: "full"}, kinds={2: "QueueFull"}))
    errors = [sent.items[at].future.exception() for at in (0, 2)]
    assert isinstance(errors[0], ModelFailed)
    assert isinstance(errors[1], QueueFull)
    assert sent.items[1].future.result().outputs["y"].tolist() == [0, 1]
    await asyncio.sleep(0)
    ((told, *_),) = owner.told
    assert told is sent
    assert [error.batched for error in errors] == [True, True]  # its record tells of them


@pytest.mark.parametrize(
    ("deadlines", "goal", "failed", "learned"),
    [(False, None, {}, False), (True, None, {}, True), (False, 100, {}, True),
     (True, 100, {0: "poison"}, False)],
)  # fmt: skip
async def test_batch_times_are_learned_where_somebody_asks_for_them(
    deadlines: bool, goal: float | None, failed: Any, learned: bool
) -> None:
    owner = Owner(latency_slo_ms=goal)
    owner.sizing.deadlines = deadlines
    sent = batch(1, 1)
    for _ in range(20):
        sent = batch(1, 1)
        owner.answering.finish(sent, result(2 - len(failed), failed=failed))
    assert (owner.sizing.least_s(2, 0, [], sent.ended) > 0) == learned


async def test_what_guards_decided_is_told_to_those_whose_rows_it_is() -> None:
    owner, sent = Owner(), batch(2, 1)
    rows = ((1, Action.FLAG, "far"), (2, Action.REJECT, "odd"))
    owner.answering.finish(sent, result(3, guards=(GuardResult("g", rows), GuardResult("h", ()))))
    flagged, rejected = sent.items
    assert flagged.decisions == [RowDecision("g", 1, Action.FLAG, "far")]
    assert flagged.future.result().outputs["y"].tolist() == [0, 1]
    assert rejected.decisions == [RowDecision("g", 0, Action.REJECT, "odd")]
    assert isinstance(rejected.future.exception(), GuardRejected)


@pytest.mark.parametrize("at", [-1, 2])
@pytest.mark.parametrize(
    "meta",
    [
        lambda at: {"failed": {at: "no"}},
        lambda at: {"response_parameters": {at: ResponseParameters({}, {})}},
        lambda at: {"guards": (GuardResult("g", ((at, Action.FLAG, ""),)),)},
    ],
)
async def test_what_is_about_others_answers_nobody(at: int, meta: Make) -> None:
    owner, sent = Owner(), batch(1, 1)
    with pytest.raises(ValueError, match=f"{at} of 2"):
        owner.answering.finish(sent, result(2, **meta(at)))
    assert not any(item.future.done() for item in sent.items)


@pytest.mark.parametrize("size", [1, 7, 12, 9])
async def test_scores_that_are_not_one_for_each_computed_row_answer_nobody(size: int) -> None:
    owner, sent = Owner(), batch(1, 1, 1)
    came = result(2, failed={0: "no"}, guards=(GuardResult("g", (), scores=bytes(size)),))
    with pytest.raises(ValueError, match="'g' has no score for each"):
        owner.answering.finish(sent, came)
    assert not any(item.future.done() for item in sent.items)


@pytest.mark.parametrize("rows", [2, 4])
async def test_rows_that_do_not_fit_are_nobody_s(rows: int) -> None:
    owner, sent = Owner(), batch(1, 2)
    with pytest.raises(ValueError, match="'y' has shape"):
        owner.answering.finish(sent, result(rows))
    assert not any(item.future.done() for item in sent.items)
    await asyncio.sleep(0)
    assert not owner.told


@pytest.mark.parametrize(
    ("error", "kind", "logged"),
    [(QueueFull("later"), QueueFull, False), (asyncio.CancelledError(), NoReplica, False),
     (KeyError("inside"), ModelFailed, True)],
)  # fmt: skip
async def test_a_batch_without_a_result_is_answered(
    make_link: Make, caplog: pytest.LogCaptureFixture, error: Any, kind: Any, logged: bool
) -> None:
    owner, sent = Owner(), batch(1, 1)
    owner.answering.fail(make_link("r7"), sent, error)
    for item in sent.items:
        got = item.future.exception()
        assert isinstance(got, kind)
        assert got is not error  # whose traceback would hold the batch
        assert "inside" not in str(got)
    assert ("could not be sent to r7" in caplog.text) == logged
