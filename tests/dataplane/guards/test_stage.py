"""Guards of the gateway over a batch: who is answered, flagged and told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows
from guards.runner import GuardRunner, GuardSetup
from serving.dataplane.context import RequestContext
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.errors import GuardRejected


class Over:
    """Does `action` to rows above a limit."""

    def __init__(self, name: str, limit: float, action: Action, **needs: bool) -> None:
        self.name, self.limit, self.action = name, limit, action
        self.stage, self.needs = Stage.INPUT, Needs(**(needs or {"inputs": True}))
        self.seen: list[Rows] = []
        self.error: Exception | None = None

    def check(self, rows: Rows) -> Decisions:
        self.seen.append(rows)
        if self.error is not None:
            raise self.error
        over = rows.inputs["x"][:, 0] > self.limit if self.needs.inputs else np.zeros(rows.n, bool)
        action = over.astype(np.uint8) * np.uint8(self.action)
        return Decisions(
            self.name, action, dict.fromkeys(np.flatnonzero(over).tolist(), "too much")
        )


class Told:
    """What the observer is told."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def guards_judged(self, results: Any) -> None:
        self.results.append(results)


def stage(*guards: Over, told: Told | None = None, on_error: Any = "open") -> GuardStage:
    def tell(what: Any, *arguments: Any) -> None:
        what(*arguments)

    runner = GuardRunner([GuardSetup(guard, on_error) for guard in guards])
    return GuardStage("m", runner, told or Told(), tell, "1")  # type: ignore[arg-type]


def batch(*requests: list[float]) -> Batch:
    loop = asyncio.get_running_loop()
    items = []
    for number, values in enumerate(requests):
        x = np.array(values, np.float32)[:, None]
        bound = Bound((x,), len(x), ((1,),), (), None)
        context = RequestContext(client=f"10.0.0.{number}")
        items.append(Pending(f"r{number}", bound, loop.create_future(), 0.0, context=context))
    return Batch(("x",), items, 0.0)


def ids(of: Batch) -> list[str]:
    return [item.id for item in of.items]


def refusal(item: Pending) -> str:
    error = item.future.exception()
    assert isinstance(error, GuardRejected)
    return error.message


async def test_what_all_guards_reject_is_taken_out_once() -> None:
    one, two = Over("one", 100, Action.REJECT), Over("two", 10, Action.REJECT)
    before = batch([1], [500, 2], [3], [20])
    left = stage(one, two).check(before)
    assert ids(left) == ["r0", "r2"]
    assert left.arrays[0].ravel().tolist() == [1, 3]
    assert refusal(before.items[1]) == "rejected by guard 'one': too much"
    assert refusal(before.items[3]) == "rejected by guard 'two': too much"
    assert [rows.n for rows in (*one.seen, *two.seen)] == [5, 5]


async def test_a_batch_that_all_guards_let_pass_is_the_same_batch() -> None:
    told = Told()
    before = batch([1], [2, 3])
    assert stage(Over("one", 100, Action.REJECT), told=told).check(before) is before
    [[result]] = told.results
    assert (result.guard, result.rows, result.failure) == ("one", (), "")
    assert result.nanoseconds > 0


async def test_flags_are_noted_once_a_guard_and_request() -> None:
    before = batch([200, 300], [1])
    guards = [Over("one", 100, Action.FLAG), Over("two", 10, Action.FLAG)]
    assert stage(*guards, Over("three", 10, Action.SHADOW)).check(before) is before
    assert [item.flags for item in before.items] == [["one", "two"], []]


@pytest.mark.parametrize(("on_error", "left"), [("open", ["r0", "r1"]), ("closed", [])])
async def test_a_guard_that_raises_is_treated_as_it_says(
    on_error: str, left: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    guard, told = Over("one", 100, Action.FLAG), Told()
    guard.error = RuntimeError("broken")
    before = batch([1], [2])
    assert ids(stage(guard, told=told, on_error=on_error).check(before)) == left
    [[result]] = told.results
    assert result.failure == "error"
    assert "guard 'one' raised RuntimeError" in caplog.text
    if on_error == "closed":
        for item in before.items:
            assert refusal(item).endswith("guard 'one' could not judge this row")


@pytest.mark.parametrize(("on_error", "left"), [("open", ["r0", "r1"]), ("closed", [])])
async def test_rows_that_cannot_be_joined_are_judged_by_nobody(
    on_error: str, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_items: Any) -> Any:
        raise MemoryError

    guard = Over("one", 100, Action.REJECT)
    monkeypatch.setattr("serving.dataplane.requests.batch.join", no_memory)
    before = batch([1], [500])
    assert ids(stage(guard, on_error=on_error).check(before)) == left
    assert guard.seen == []
    refused = [refusal(item) for item in before.items if item.future.done()]
    assert len(refused) == 2 - len(left)


class Scoring(Over):
    """Scores rows by how far they are towards its limit."""

    def check(self, rows: Rows) -> Decisions:
        found = super().check(rows)
        scores = (rows.inputs["x"][:, 0] / self.limit).astype(np.float32)
        return Decisions(found.guard, found.action, found.reasons, scores)


async def test_scores_of_all_guards_are_noted_before_anybody_is_rejected() -> None:
    before = batch([1], [500, 2], [3])
    told: list[Any] = []
    before.items[1].on_done = lambda: told.append(before.items[1].scores)
    guards = [Scoring("one", 100, Action.REJECT), Over("two", 10, Action.FLAG)]
    left = stage(*guards, Scoring("three", 1000, Action.FLAG)).check(before)
    assert [{g: s.tolist() for g, s in (item.scores or {}).items()} for item in left.items] == [
        {"one": [np.float32(0.01)], "three": [np.float32(0.001)]},
        {"one": [np.float32(0.03)], "three": [np.float32(0.003)]},
    ]
    [of_rejected] = told
    assert {guard: scores.tolist() for guard, scores in of_rejected.items()} == {
        "one": [5, np.float32(0.02)], "three": [0.5, np.float32(0.002)],
    }  # fmt: skip


async def test_who_asks_is_told_to_guards_that_need_it_and_rows_are_not_joined_for_them() -> None:
    guard = Over("one", 0, Action.REJECT, requests=True)
    before = batch([1], [2, 3])
    stage(guard).check(before)
    [rows] = guard.seen
    assert rows.requests is not None
    assert (rows.n, rows.requests.rows, rows.requests.ids) == (3, (1, 2), ("r0", "r1"))
    assert rows.requests.clients == ("10.0.0.0", "10.0.0.1")
    assert rows.inputs == {}
    assert before.parts() is not None


async def test_a_guard_that_is_late_again_and_again_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told, slow = Told(), Over("one", 100, Action.REJECT)
    times = iter(range(0, 10**9, 10**7))
    runner = GuardRunner([GuardSetup(slow, "open", 1)], lambda: next(times))
    guards = GuardStage("m", runner, told, lambda what, *of: what(*of))  # type: ignore[arg-type]
    for _ in range(5):
        guards.check(batch([1]))
    assert [one.failure for [one] in told.results] == ["late"] * 3 + ["skipped"] * 2
    assert caplog.text.count("is skipped for a while") == 1


class Passes(Over):
    """Lets two rows pass, and costs nothing itself."""

    decisions = Decisions("one", np.zeros(2, np.uint8), {})

    def check(self, rows: Rows) -> Decisions:
        return self.decisions


async def test_a_guard_that_lets_all_pass_costs_few_calls(
    calls_of: Callable[..., list[str]],
) -> None:
    """Each batch passes here: what is added to the path is added to every request."""
    guards, before = stage(Passes("one", 100, Action.REJECT)), batch([1, 2])
    called = calls_of(lambda: guards.check(before))
    # The inputs by name, the rows as a guard sees them, and what it found as a message.
    assert called == ["check", "inputs", "arrays", "join", "<lambda>", "run", "found", "results_of"]
