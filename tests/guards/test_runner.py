"""Guards together: their order, what they are shown, and whom a broken one disturbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows
from guards.runner import GuardRunner, GuardSetup


class Fake:
    """Answers what it is told to."""

    action = Action.FLAG

    def __init__(
        self, name: str = "fake", stage: Stage = Stage.INPUT, answer: Any = None, **needs: bool
    ) -> None:
        self.name, self.stage, self.needs = name, stage, Needs(**needs)
        self._answer = answer
        self.seen: list[int] = []

    def check(self, rows: Rows) -> Decisions:
        self.seen.append(rows.n)
        if isinstance(self._answer, BaseException):
            raise self._answer
        if self._answer is not None:
            return self._answer
        action = np.full(rows.n, self.action, np.uint8)
        return Decisions(self.name, action, dict.fromkeys(range(rows.n), self.name))


class Clock:
    """Nanoseconds that are given one by one."""

    def __init__(self, *times: int) -> None:
        self._times = iter(times)

    def __call__(self) -> int:
        return next(self._times)


def runner(*guards: Fake, clock: Callable[[], int] | None = None, **setup: Any) -> GuardRunner:
    setups = [GuardSetup(guard, **setup) for guard in guards]
    return GuardRunner(setups, clock) if clock else GuardRunner(setups)


def test_stages_have_an_order_and_within_one_the_given_order_holds() -> None:
    guards = [
        Fake("d", Stage.OUTPUT), Fake("c", Stage.FEATURES), Fake("b", Stage.CLIENT),
        Fake("a2", Stage.INPUT), Fake("a1", Stage.INPUT),
    ]  # fmt: skip
    assert runner(*guards).names == ("a2", "a1", "b", "c", "d")


def test_each_guard_is_shown_every_row_whatever_others_decide() -> None:
    first, second = Fake("first"), Fake("second")
    first.action = Action.REJECT
    outcomes = runner(first, second).run(Rows(3))
    assert (first.seen, second.seen) == ([3], [3])
    assert [(one.guard, len(one.rows)) for one in outcomes] == [("first", 3), ("second", 3)]


def test_needs_are_those_of_all_guards() -> None:
    guards = runner(
        Fake("a", requests=True), Fake("b", Stage.FEATURES, features=True), Fake("c", Stage.OUTPUT)
    )
    assert guards.needs == Needs(features=True, requests=True)
    assert runner().needs == Needs()
    assert runner().run(Rows(2)) == []


@pytest.mark.parametrize(
    ("stage", "needs"),
    [
        (Stage.INPUT, "features"), (Stage.INPUT, "outputs"), (Stage.CLIENT, "features"),
        (Stage.CLIENT, "outputs"), (Stage.FEATURES, "outputs"), (Stage.FEATURES, "requests"),
        (Stage.OUTPUT, "requests"),
    ],
)  # fmt: skip
def test_what_a_stage_has_not_cannot_be_needed(stage: Stage, needs: str) -> None:
    with pytest.raises(ValueError, match=f"'fake' needs {needs}, and stage {stage.value} has none"):
        runner(Fake(stage=stage, **{needs: True}))


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="same name: a, a"):
        runner(Fake("a"), Fake("a"))


def decisions(action: Any, reasons: Any = None, score: Any = None) -> Decisions:
    return Decisions("fake", action, {} if reasons is None else reasons, score)


WRONG = {
    "raises": RuntimeError("broken"),
    "no decisions": 7,
    "too many": decisions(np.zeros(5, np.uint8)),
    "too few": decisions(np.zeros(1, np.uint8)),
    "wrong shape": decisions(np.zeros((2, 1), np.uint8)),
    "a list": decisions([0, 0]),
    "no such action": decisions(np.array([0, 4], np.uint8)),
    "negative": decisions(np.array([0, -1], np.int8)),
    "no text": decisions(np.array([0, 2], np.uint8), {1: b"bytes"}),
    "no reasons": Decisions("fake", np.array([0, 2], np.uint8), None),  # type: ignore[arg-type]
    "scores of others": decisions(np.zeros(2, np.uint8), score=np.zeros(3, np.float32)),
    "scores of twice the size": decisions(np.zeros(2, np.uint8), score=np.zeros(2)),
    "no number": decisions(np.zeros(2, np.uint8), score=np.array(["a", "b"])),
    "scores in a list": decisions(np.zeros(2, np.uint8), score=[0.0, 0.0]),
}


def test_scores_that_nobody_keeps_are_in_no_outcome() -> None:
    action = np.zeros(2, np.uint8)
    scored = Fake(answer=Decisions("guard", action, {}, np.float32([1, 2])))
    (kept,) = GuardRunner([GuardSetup(scored)]).run(Rows(2))
    assert kept.scores is not None
    assert kept.scores.tolist() == [1, 2]
    (dropped,) = GuardRunner([GuardSetup(scored)], scores=False).run(Rows(2))
    assert (dropped.scores, dropped.failure) == (None, None)


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_what_is_no_decision_about_each_row_is_a_failure(answer: Any, on_error: str) -> None:
    good = Fake("good")
    broken, other = runner(Fake(answer=answer), good, on_error=on_error).run(Rows(2))
    assert broken.failure is not None
    assert (broken.failure.reason, broken.failure.pause_ns) == ("error", 0)
    assert isinstance(broken.failure.error, Exception)
    assert broken.scores is None
    assert [row for row, _, _ in broken.rows] == ([0, 1] if on_error == "closed" else [])
    assert (other.failure, len(other.rows)) == (None, 2)


def test_an_order_to_stop_is_no_failure_of_a_guard() -> None:
    with pytest.raises(KeyboardInterrupt):
        runner(Fake(answer=KeyboardInterrupt())).run(Rows(1))


def test_each_guard_is_timed_for_itself() -> None:
    outcomes = runner(Fake("a"), Fake("b"), clock=Clock(100, 107, 130)).run(Rows(1))
    assert [one.nanoseconds for one in outcomes] == [7, 23]


def test_a_budget_is_kept_by_what_takes_as_long_as_it_allows() -> None:
    (outcome,) = runner(Fake(), clock=Clock(0, 2_000_000), budget_ms=2).run(Rows(1))
    assert outcome.failure is None


def test_a_check_in_time_forgives_those_before_it() -> None:
    times = [0, 9, 10, 19, 20, 22, 30, 39, 40, 49, 50, 59]  # late, late, in time, late and so on
    guards = runner(Fake(), clock=Clock(*times), budget_ms=5e-6)
    failures = [guards.run(Rows(1))[0].failure for _ in range(6)]
    assert [failure and failure.pause_ns for failure in failures] == [0, 0, None, 0, 0, 10**9]


def test_a_guard_that_raises_late_is_a_failure_once_and_is_skipped_like_any_other() -> None:
    guards = runner(Fake(answer=ValueError()), clock=Clock(*range(0, 10**8, 10**7)), budget_ms=1)
    failures = [guards.run(Rows(1))[0].failure for _ in range(4)]
    assert [failure.reason for failure in failures if failure] == ["error"] * 3 + ["skipped"]
    assert [failure.pause_ns for failure in failures if failure] == [0, 0, 10**9, 0]


def test_a_guard_that_is_skipped_delays_no_other() -> None:
    times = [0, 9, 10, 20, 29, 30, 40, 49, 50, 60, 61]
    slow, quick = Fake("slow"), Fake("quick")
    setups = [GuardSetup(slow, budget_ms=5e-6), GuardSetup(quick)]
    guards = GuardRunner(setups, Clock(*times))
    for _ in range(3):
        guards.run(Rows(1))
    skipped, judged = guards.run(Rows(1))
    assert (skipped.nanoseconds, judged.nanoseconds) == (0, 1)
    assert (slow.seen, quick.seen) == ([1] * 3, [1] * 4)


@pytest.mark.parametrize(("on_error", "refused"), [("open", 0), ("closed", 3)])
def test_rows_that_cannot_be_shown_are_judged_by_nobody(on_error: str, refused: int) -> None:
    guard, error = Fake(), MemoryError()
    (outcome,) = runner(guard, on_error=on_error).failed(error, 3)
    assert outcome.failure is not None
    assert (outcome.failure.error, len(outcome.rows), guard.seen) == (error, refused, [])
