"""What holds for every guard in the list and for two toys, whatever it looks for."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_equal

from guards.decisions import ACTION_OF, MOST_SCORE, Action, Decisions
from guards.guard import OFFERED, Guard
from guards.rows import Requests, Rows
from guards.runner import GuardRunner, GuardSetup
from serving.config import GUARDS, GuardSection, InputSpec, OutputSpec
from serving.config.guards.descriptor import GuardDescriptor, GuardSource, ReferenceRows

TOYS = ("toy", "toy_output")
NAMES = (*(each.name for each in GUARDS), *TOYS)
INPUTS = [
    InputSpec.model_validate({
        "name": "x", "datatype": "FP32", "shape": [-1, 2],
        "features": [{"name": "a", "min": 0}, {"name": "b", "max": 9}],
    }),
    InputSpec.model_validate({
        "name": "kind", "datatype": "BYTES", "shape": [-1, 1],
        "features": [{"name": "kind", "categories": ["red", "blue"]}],
    }),
]  # fmt: skip
OUTPUTS = [OutputSpec(name="y", datatype="FP32", shape=[-1, 2])]
STRICT = {
    "mahalanobis": {"false_positive_rate": 0.001},
    "distance": {"false_positive_rate": 0.001},
}
"""Settings with which no normal row here is disliked by chance."""
WRONG = [2, 4]
"""Rows that are wrong in every way, so that each guard has something to dislike."""


def batch(n: int, seed: int, wrong: list[int] | None = None) -> Rows:
    """Rows with everything that a guard may need: three classes, all of them normal."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    features = 5 * np.eye(8)[classes] + rng.normal(scale=0.1, size=(n, 8)) + 2
    x = rng.uniform(1, 8, size=(n, 2)).astype(np.float32)
    y = (np.eye(3)[classes][:, :2] + 0.1).astype(np.float32)
    kind = np.empty((n, 1), dtype=object)
    kind[:, 0] = [[b"red", b"blue"][at % 2] for at in range(n)]
    for row in wrong or []:
        x[row, 0], features[row], y[row], kind[row] = -1, -features[row], 50, b"green"
    requests = Requests((1,) * n, tuple(f"r{at}" for at in range(n)), ("10.0.0.1",) * n)
    return Rows(n, {"x": x, "kind": kind}, features.astype(np.float32), {"y": y}, requests)


def reference(n: int, seed: int) -> ReferenceRows:
    rows = batch(n, seed)
    assert rows.features is not None
    classes = rows.features.argmax(axis=1)
    return ReferenceRows(
        inputs=rows.inputs, outputs=rows.outputs, features=rows.features, classes=classes
    )


def take(rows: Rows, of: Any) -> Rows:
    """Return some of the rows."""
    assert rows.features is not None
    features = rows.features[of]
    return Rows(
        len(features),
        {name: array[of] for name, array in rows.inputs.items()},
        features,
        {name: array[of] for name, array in rows.outputs.items()},
        Requests((1,) * len(features), ("r",) * len(features), ("10.0.0.1",) * len(features)),
    )


def offered(rows: Rows, guard: Guard, *, needed: bool = False) -> Rows:
    """Return what the guard's stage has of the rows, or only what the guard says it needs."""
    has = guard.needs if needed else OFFERED[guard.stage]
    return Rows(
        rows.n,
        rows.inputs if has.inputs else {},
        rows.features if has.features else None,
        rows.outputs if has.outputs else {},
        rows.requests if has.requests else None,
    )


@dataclass
class Case:
    """One kind of guard."""

    kind: GuardDescriptor

    def section(self, **more: Any) -> GuardSection:
        return self.kind.section.model_validate({
            "name": self.kind.name, **STRICT.get(self.kind.name, {}), **more,
        })  # fmt: skip

    def guard(self, **more: Any) -> Guard:
        """Build what the list builds, from what it learned of normal rows."""
        section = self.section(**{"action": "reject", **more})
        learned: dict[str, np.ndarray] = {}
        if self.kind.fit is not None:
            file = io.BytesIO()
            np.savez(file, **self.kind.fit(section, reference(600, 1), reference(2000, 2)))
            learned = dict(np.load(io.BytesIO(file.getvalue())))
        source = GuardSource(inputs=INPUTS, outputs=OUTPUTS, learned=learned)
        return self.kind.build(section, source)


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, toy_guards: list[ModuleType]) -> Case:
    listed = (*GUARDS, *(toy.DESCRIPTOR for toy in toy_guards))
    (kind,) = (each for each in listed if each.name == request.param)
    return Case(kind)


@pytest.fixture
def guard(case: Case) -> Guard:
    return case.guard()


def check(guard: Guard, rows: Rows) -> Decisions:
    return guard.check(offered(rows, guard))


def test_is_what_its_entry_says(case: Case) -> None:
    for name, action in ACTION_OF.items():
        guard = case.guard(action=name)
        assert (guard.name, guard.stage) == (case.kind.name, case.kind.stage)
        assert guard.action == action
        GuardRunner([GuardSetup(guard)])  # refuses what needs more than its stage offers


def test_has_the_settings_of_every_guard(case: Case) -> None:
    section = case.section(on_error="closed", budget_ms=3)
    assert (section.on_error, section.budget_ms) == ("closed", 3)
    assert (case.section().on_error, case.section().action) == ("open", "flag")
    for wrong in ({"on_error": "ajar"}, {"budget_ms": 0}, {"action": "shout"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            case.section(**wrong)


def test_stops_the_rows_it_should_and_says_why(guard: Guard) -> None:
    decisions = check(guard, batch(6, 3, WRONG))
    assert decisions.guard == guard.name
    assert decisions.action.dtype == np.uint8
    assert decisions.action.tolist() == [3 if row in WRONG else 0 for row in range(6)]
    assert sorted(decisions.reasons) == WRONG
    assert all(decisions.reasons.values())


@pytest.mark.parametrize("action", ACTION_OF)
def test_does_what_its_section_says(case: Case, action: str) -> None:
    decisions = check(case.guard(action=action), batch(6, 3, WRONG))
    assert set(decisions.action.tolist()) == {Action.PASS, ACTION_OF[action]}


def test_is_deterministic(case: Case) -> None:
    one, other = case.guard(), case.guard()
    for seed in range(5):
        assert_equal(told(check(one, batch(9, seed))), told(check(other, batch(9, seed))))


def told(decisions: Decisions) -> dict[str, Any]:
    return {name: getattr(decisions, name) for name in type(decisions).__slots__}


@pytest.mark.parametrize("n", [6, 90])
def test_rows_are_judged_one_by_one(guard: Guard, n: int) -> None:
    rows = batch(n, 4, WRONG)
    whole = check(guard, rows)
    order = np.random.default_rng(0).permutation(n)
    mixed = check(guard, take(rows, order))
    assert mixed.action.tolist() == whole.action[order].tolist()
    for row in range(n):
        alone = check(guard, take(rows, slice(row, row + 1)))
        assert alone.action.tolist() == [whole.action[row]]
        assert alone.reasons.get(0) == whole.reasons.get(row)
        if whole.score is not None:
            assert alone.score is not None
            np.testing.assert_allclose(alone.score, whole.score[row], rtol=1e-5)


def test_a_batch_without_rows_is_empty(guard: Guard) -> None:
    decisions = check(guard, batch(0, 5))
    assert (decisions.action.shape, decisions.reasons) == ((0,), {})
    assert decisions.score is None or decisions.score.shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 6, 90])
def test_values_that_are_no_numbers_are_judged_and_spoil_no_other_row(
    guard: Guard, value: float, n: int
) -> None:
    rows, spoilt = batch(n, 6), batch(n, 6)
    assert spoilt.features is not None
    for array in (spoilt.inputs["x"], spoilt.features, spoilt.outputs["y"]):
        array[-1] = value
    spoilt.inputs["kind"][-1] = b"\xff\x00"
    clean, judged = check(guard, rows), check(guard, spoilt)
    assert judged.action[:-1].tolist() == clean.action[:-1].tolist()
    assert judged.action[-1] == Action.REJECT
    assert judged.score is None or np.isfinite(judged.score).all()


def test_scores_are_multiples_of_the_threshold(guard: Guard) -> None:
    decisions = check(guard, batch(300, 7, WRONG))
    if decisions.score is None:
        return
    assert (decisions.score.dtype, decisions.score.shape) == (np.float32, (300,))
    assert (decisions.score > 1).tolist() == (decisions.action > 0).tolist()
    assert (decisions.score >= 0).all()
    assert (decisions.score <= MOST_SCORE).all()


def test_reasons_hold_no_numbers_that_an_attacker_could_climb(guard: Guard) -> None:
    rows = batch(6, 3, WRONG)
    decisions = check(guard, rows)
    for row, reason in decisions.reasons.items():
        assert decisions.score is None or f"{decisions.score[row]:.3g}" not in reason
        assert "-1" not in reason
        assert "green" not in reason


def test_does_not_write_to_its_rows(guard: Guard) -> None:
    rows = batch(9, 8, WRONG)
    before = copy.deepcopy(rows)
    assert rows.features is not None
    for array in (*rows.inputs.values(), rows.features, *rows.outputs.values()):
        array.flags.writeable = False
    check(guard, rows)
    assert_equal(rows, before)


def test_only_what_it_needs_has_to_be_there(guard: Guard) -> None:
    rows = batch(9, 9, WRONG)
    lean = guard.check(offered(rows, guard, needed=True))
    assert_equal(told(lean), told(check(guard, rows)))


# -- how it is run ----------------------------------------------------------------------------


class Clock:
    """Nanoseconds that a test sets; `takes` of them pass at each look."""

    def __init__(self, takes: int = 0) -> None:
        self.now, self.takes = 0, takes

    def __call__(self) -> int:
        self.now += self.takes
        return self.now


def test_is_run_and_its_time_is_told(guard: Guard) -> None:
    rows = batch(6, 3, WRONG)
    runner = GuardRunner([GuardSetup(guard)], Clock(takes=7))
    (outcome,) = runner.run(offered(rows, guard))
    assert [row for row, _, _ in outcome.rows] == WRONG
    assert (outcome.guard, outcome.nanoseconds, outcome.failure) == (guard.name, 7, None)
    assert_equal(outcome.scores, check(guard, rows).score)


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_what_it_cannot_judge_is_treated_as_its_section_says(case: Case, on_error: Any) -> None:
    guard = case.guard()
    runner = GuardRunner([GuardSetup(guard, case.section(on_error=on_error).on_error)])
    (outcome,) = runner.run(Rows(6))
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.scores) == ("error", None)
    assert [row for row, _, _ in outcome.rows] == ([] if on_error == "open" else [*range(6)])
    assert {action for _, action, _ in outcome.rows} <= {Action.REJECT}


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_guard_that_is_too_slow_is_skipped_for_a_while(case: Case, on_error: Any) -> None:
    guard, clock = case.guard(), Clock(takes=2_000_001)
    budget_ms = case.section(budget_ms=2).budget_ms
    runner = GuardRunner([GuardSetup(guard, on_error, budget_ms)], clock)
    rows = offered(batch(6, 3, WRONG), guard)
    for _ in range(3):
        (outcome,) = runner.run(rows)
        assert outcome.failure is not None
        assert outcome.failure.reason == "late"
        assert [row for row, _, _ in outcome.rows] == WRONG  # they are there, so they count
    (skipped,) = runner.run(rows)
    assert skipped.failure is not None
    assert (skipped.failure.reason, skipped.nanoseconds) == ("skipped", 0)
    assert [row for row, _, _ in skipped.rows] == ([] if on_error == "open" else [*range(6)])
    clock.now += 1_000_000_000
    clock.takes = 2_000_000
    (again,) = runner.run(rows)
    assert (again.failure, [row for row, _, _ in again.rows]) == (None, WRONG)
