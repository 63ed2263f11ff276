"""One batch on one model: the poison is found, guards see what is left, nobody is shifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows
from guards.runner import GuardRunner, GuardSetup
from serving.channel.messages.inference import BatchResult
from serving.dataplane.requests.batch import split
from serving.errors import InvalidInput, ModelFailed
from serving.models.contract import Capabilities, Prediction
from serving.replica.executor import BatchExecutor

POISON = -1.0


class Doubler:
    """Doubles, and raises when a poison row is in the batch."""

    def __init__(self) -> None:
        self.passes = 0

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.passes += 1
        if (inputs["x"] == POISON).any():
            raise ModelFailed("poison row")
        return {"y": inputs["x"] * 2}

    def predict_with_features(self, inputs: Mapping[str, np.ndarray]) -> Prediction:
        return Prediction(self.predict(inputs), inputs["x"] * 10)


class Suspicious:
    """Rejects rows above a limit; keeps what it was shown."""

    name = "suspicious"
    stage = Stage.OUTPUT
    action = Action.REJECT

    def __init__(self, limit: float = 100, features: bool = False) -> None:
        self.needs = Needs(inputs=True, features=features, outputs=True)
        self.limit = limit
        self.seen: list[list[float]] = []

    def check(self, rows: Rows) -> Decisions:
        values = rows.inputs["x"][:, 0]
        self.seen.append(values.tolist())
        if self.needs.features:
            assert rows.features is not None
            np.testing.assert_array_equal(rows.features[:, 0], values * 10)
        np.testing.assert_array_equal(rows.outputs["y"][:, 0], values * 2)
        hit = np.flatnonzero(values > self.limit)
        action = np.zeros(rows.n, np.uint8)
        action[hit] = Action.REJECT
        score = (values / self.limit).astype(np.float32)
        return Decisions(self.name, action, {int(row): f"row {row}" for row in hit}, score)


class Broken:
    name = "broken"
    stage = Stage.OUTPUT
    needs = Needs()
    action = Action.FLAG

    def check(self, rows: Rows) -> Decisions:
        raise RuntimeError("the guard is broken")


def runner(*guards: Any, on_error: Any = "open") -> GuardRunner:
    return GuardRunner([GuardSetup(guard, on_error) for guard in guards])


def told(result: BatchResult) -> list[Any]:
    return [(one.guard, one.rows, one.failure, one.scores) for one in result.meta.guards]


def column(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32)[:, None]}


def test_a_good_batch_takes_one_pass() -> None:
    model = Doubler()
    result = BatchExecutor(model).run((1, 2), column(1, 2, 3))  # type: ignore[arg-type]
    assert result.outputs["y"].ravel().tolist() == [2, 4, 6]
    assert (result.meta.failed, result.meta.guards, model.passes) == ({}, (), 1)
    assert result.meta.compute_ns > 0


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=12))
def test_only_the_poison_fails(requests: list[tuple[int, bool]]) -> None:
    rows = tuple(n for n, _ in requests)
    values: list[float] = []
    for index, (n, poisoned) in enumerate(requests):
        values += [POISON if poisoned and row == n - 1 else index + 1 for row in range(n)]
    result = BatchExecutor(Doubler()).run(rows, column(*values))  # type: ignore[arg-type]
    bad = {index for index, (_, poisoned) in enumerate(requests) if poisoned}
    assert result.meta.failed == dict.fromkeys(bad, "poison row")
    good = [index for index in range(len(requests)) if index not in bad]
    if not good:
        assert result.outputs == {}
        return
    parts = split(result.outputs, [rows[index] for index in good])
    for index, part in zip(good, parts, strict=True):
        assert part["y"].ravel().tolist() == [2.0 * (index + 1)] * rows[index]


class Choosy(Doubler):
    """Refuses what is over 100, and raises for poison."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (inputs["x"] > 100).any():
            raise InvalidInput("x must be at most 100")
        return super().predict(inputs)


def test_what_the_model_refuses_is_told_apart_from_what_it_fails_on() -> None:
    executor = BatchExecutor(Choosy())  # type: ignore[arg-type]
    result = executor.run((1, 2, 1, 1), column(1, 2, 101, POISON, 3))
    assert result.meta.failed == {1: "x must be at most 100", 2: "poison row"}
    assert result.meta.kinds == {1: "InvalidInput"}
    assert result.outputs["y"].ravel().tolist() == [2, 6]


def test_one_poison_costs_a_logarithm_of_passes() -> None:
    model = Doubler()
    values = [1.0] * 64
    values[41] = POISON
    BatchExecutor(model).run((1,) * 64, column(*values))  # type: ignore[arg-type]
    assert model.passes == 1 + 2 * 6


class Elsewhere(Doubler):
    """Computes outside of the loop."""

    capabilities = Capabilities(features=True)

    async def predict_async(
        self, inputs: Mapping[str, np.ndarray], *, features: bool
    ) -> Prediction:
        if features:
            return self.predict_with_features(inputs)
        return Prediction(self.predict(inputs))

    def module(self) -> None: ...


def test_a_model_says_by_its_methods_whether_batches_overlap() -> None:
    assert BatchExecutor(Elsewhere()).overlaps  # type: ignore[arg-type]
    assert not BatchExecutor(Doubler()).overlaps  # type: ignore[arg-type]


class ChoosyElsewhere(Choosy, Elsewhere):
    """Both."""


async def test_an_overlapping_batch_is_refused_in_part() -> None:
    executor = BatchExecutor(ChoosyElsewhere())  # type: ignore[arg-type]
    result = await executor.run_async((1, 1), column(101, 1))
    assert (result.meta.failed, result.meta.kinds) == (
        {0: "x must be at most 100"},
        {0: "InvalidInput"},
    )
    assert result.outputs["y"].ravel().tolist() == [2]


@pytest.mark.parametrize("values", [(1, 2, 3, 4), (1, POISON, 500, 2), (POISON,) * 4])
async def test_an_overlapping_batch_comes_out_like_any_other(values: tuple[float, ...]) -> None:
    def executor(model: Doubler) -> BatchExecutor:
        return BatchExecutor(model, runner(Suspicious(features=True)))  # type: ignore[arg-type]

    expected = executor(Doubler()).run((1, 2, 1), column(*values))
    result = await executor(Elsewhere()).run_async((1, 2, 1), column(*values))
    assert result.meta.failed == expected.meta.failed
    assert told(result) == told(expected)
    assert {name: array.tolist() for name, array in result.outputs.items()} == {
        name: array.tolist() for name, array in expected.outputs.items()
    }
    with pytest.raises(InvalidInput):
        await executor(Elsewhere()).run_async((1,), column(1, 2))


@pytest.mark.parametrize("features", [False, True])
def test_guards_judge_what_did_not_fail_and_name_rows_of_the_whole_batch(features: bool) -> None:
    guard = Suspicious(features=features)
    executor = BatchExecutor(Doubler(), runner(guard))  # type: ignore[arg-type]
    result = executor.run((2, 1, 2, 1), column(1, POISON, 500, 2, 600, 700))
    assert list(result.meta.failed) == [0]
    assert guard.seen == [[500, 2, 600, 700]]
    (judged,) = result.meta.guards
    assert judged.guard == "suspicious"
    assert judged.rows == (
        (2, Action.REJECT, "row 0"),
        (4, Action.REJECT, "row 2"),
        (5, Action.REJECT, "row 3"),
    )
    assert np.frombuffer(judged.scores, "<f4").tolist() == pytest.approx([5, 0.02, 6, 7])


def test_guards_that_let_all_pass_list_no_row_and_tell_their_own_time() -> None:
    guards = runner(Suspicious(), Broken())
    meta = BatchExecutor(Doubler(), guards).run((1,), column(1)).meta  # type: ignore[arg-type]
    assert [(one.guard, one.rows) for one in meta.guards] == [("suspicious", ()), ("broken", ())]
    assert all(one.nanoseconds > 0 for one in meta.guards)
    assert sum(one.nanoseconds for one in meta.guards) <= meta.guard_ns


def test_guards_are_not_asked_about_nothing() -> None:
    guard = Suspicious()
    result = BatchExecutor(Doubler(), runner(guard)).run((1,), column(POISON))  # type: ignore[arg-type]
    assert (guard.seen, result.meta.guards) == ([], ())


def test_a_guard_that_fails_open_lets_rows_pass(caplog: Any) -> None:
    guards = runner(Broken(), Suspicious(limit=1.5))
    result = BatchExecutor(Doubler(), guards).run((1, 1), column(1, 2))  # type: ignore[arg-type]
    assert result.outputs["y"].ravel().tolist() == [2, 4]
    broken, suspicious = result.meta.guards
    assert (broken.rows, broken.failure, broken.scores) == ((), "error", b"")
    assert [row[:2] for row in suspicious.rows] == [(1, Action.REJECT)]
    assert "guard 'broken' raised RuntimeError" in caplog.text


def test_a_guard_that_fails_closed_refuses_every_row_that_did_not_fail() -> None:
    guards = runner(Broken(), on_error="closed")
    executor = BatchExecutor(Doubler(), guards)  # type: ignore[arg-type]
    (judged,) = executor.run((1, 1, 1), column(1, POISON, 2)).meta.guards
    assert [row[:2] for row in judged.rows] == [(0, Action.REJECT), (2, Action.REJECT)]
    assert "could not judge" in judged.rows[0][2]


@pytest.mark.parametrize("rows", [(), (1,), (1, 3), (0, 0)])
def test_rows_that_do_not_add_up_are_refused(rows: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="rows"):
        BatchExecutor(Doubler()).run(rows, column(1, POISON))  # type: ignore[arg-type]
