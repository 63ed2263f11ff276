"""Runs guards over batches; knows no transport, keeps no numbers and writes no log.

What happened is returned as values, of which the owner makes metrics, log lines and refusals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from guards.decisions import Action, Decisions
from guards.guard import OFFERED, Guard, Needs, Stage
from guards.rows import Rows
from guards.time_budget import TimeBudget

ERROR: Final = "error"
"""The guard raised, or what it gave is no decision about each row. It judged no row."""
LATE: Final = "late"
"""The guard took longer than its time budget. Its decisions count."""
SKIPPED: Final = "skipped"
"""The guard was not run, because it was late too often just before. It judged no row."""
REASONS: Final = (ERROR, LATE, SKIPPED)

Listed = tuple[tuple[int, int, str], ...]
"""Row, `Action` and public reason of the rows that did not pass."""


class Failure(NamedTuple):
    """Why a guard did not judge a batch, or not in time.

    Attributes:
        reason: one of `REASONS`.
        error: what it raised.
        pause_ns: for how long it is skipped from now on; 0: it is not.
    """

    reason: str
    error: Exception | None = None
    pause_ns: int = 0


class Outcome(NamedTuple):
    """What became of one guard on one batch.

    Attributes:
        guard: its name.
        rows: those that did not pass.
        nanoseconds: how long it took; 0 where it was skipped.
        scores: those of its `Decisions`; None where nobody keeps them.
        failure: None where it judged in time.
    """

    guard: str
    rows: Listed
    nanoseconds: int
    scores: np.ndarray | None
    failure: Failure | None


class GuardSetup(NamedTuple):
    """A guard and how it is run.

    Attributes:
        guard: the guard.
        on_error: what becomes of rows that it fails to judge: `open` lets them pass.
        budget_ms: milliseconds that it may take for a batch; see `guards.time_budget`.
    """

    guard: Guard
    on_error: Literal["open", "closed"] = "open"
    budget_ms: float = 1000.0


class GuardRunner:
    """Runs the guards of one model version, by stage and then in the given order.

    Each is shown every row of a batch, whatever others decide: what it finds does not depend on
    them. One that fails disturbs no other. Not thread-safe.

    Args:
        setups: the guards.
        clock: nanoseconds that never jump.
        scores: whether outcomes have the scores that guards give, for whoever keeps them.

    Attributes:
        names: of the guards, in the order in which they run.
        needs: what any of them must be shown.

    Raises:
        ValueError: two guards have one name, or one needs what its stage does not offer.
    """

    def __init__(
        self,
        setups: Sequence[GuardSetup] = (),
        clock: Callable[[], int] = time.perf_counter_ns,
        *,
        scores: bool = True,
    ) -> None:
        order = list(OFFERED)
        self._guards = [
            _Guarded(setup) for setup in sorted(setups, key=lambda s: order.index(s.guard.stage))
        ]
        self._clock = clock
        self._scores = scores
        self.names = tuple([one.name for one in self._guards])
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"guards have the same name: {', '.join(self.names)}")
        needs = [one.needs for one in self._guards]
        self.needs = Needs(
            inputs=any(each.inputs for each in needs),
            features=any(each.features for each in needs),
            outputs=any(each.outputs for each in needs),
            requests=any(each.requests for each in needs),
        )

    def run(self, rows: Rows) -> list[Outcome]:
        """Let every guard judge a batch; never raises.

        Args:
            rows: `needs` says what must be in it.
        """
        outcomes: list[Outcome] = []
        began = self._clock()
        for one in self._guards:
            budget = one.budget
            if budget.resume_ns > began:
                skipped = (one.name, one.unjudged(rows.n), 0, None, _SKIPPED)
                outcomes.append(_new(Outcome, skipped))
                continue
            failure: Failure | None = None
            scores: np.ndarray | None = None
            try:
                decisions = one.check(rows)
                scores = decisions.score
                listed = decisions.found()
                shape = (rows.n,)
                if (
                    decisions.action.shape != shape
                    or listed
                    or (scores is not None and (scores.shape != shape or scores.dtype != _FLOAT32))
                ):
                    _require_sound(decisions, listed, shape)
            except Exception as error:  # noqa: BLE001 - its own fault must fail no request
                failure, scores = Failure(ERROR, error), None
                listed = one.unjudged(rows.n)
            ended = self._clock()
            took = ended - began
            if took > budget.budget_ns:
                failure = (failure or _LATE)._replace(pause_ns=budget.exceeded(ended))
            elif budget.late:
                budget.kept()
            told = scores if self._scores else None
            outcomes.append(_new(Outcome, (one.name, listed, took, told, failure)))
            began = ended
        return outcomes

    def failed(self, error: Exception, n: int) -> list[Outcome]:
        """Return what becomes of n rows that no guard could be shown."""
        failure = Failure(ERROR, error)
        return [Outcome(one.name, one.unjudged(n), 0, None, failure) for one in self._guards]


class _Guarded:
    """One guard as the runner sees it."""

    __slots__ = ("_closed", "budget", "check", "name", "needs")

    def __init__(self, setup: GuardSetup) -> None:
        guard = setup.guard
        self.name = guard.name
        self.needs = guard.needs
        self.check = guard.check
        self.budget = TimeBudget(int(setup.budget_ms * 1e6))
        self._closed = setup.on_error == "closed"
        _require_offered(guard.name, guard.needs, guard.stage)

    def unjudged(self, n: int) -> Listed:
        """Return what becomes of rows that it fails to judge."""
        if not self._closed:
            return ()
        why = f"guard '{self.name}' could not judge this row"
        return tuple([(row, int(Action.REJECT), why) for row in range(n)])


def _require_offered(name: str, needs: Needs, stage: Stage) -> None:
    for what in ("inputs", "features", "outputs", "requests"):
        if getattr(needs, what) and not getattr(OFFERED[stage], what):
            raise ValueError(f"guard '{name}' needs {what}, and stage {stage.value} has none")


def _require_sound(decisions: Decisions, listed: Listed, shape: tuple[int]) -> None:
    """Refuse what is no decision about each row: it would be another row's, or nobody's.

    Raises:
        ValueError: it is not.
    """
    if decisions.action.shape != shape:
        raise ValueError(f"decisions of shape {decisions.action.shape} about {shape[0]} rows")
    score = decisions.score
    if score is not None and (score.shape != shape or score.dtype != _FLOAT32):
        raise ValueError(f"scores {score.dtype} {list(score.shape)}, not float32 {list(shape)}")
    for _row, action, reason in listed:
        if action not in _ACTIONS or not isinstance(reason, str):
            raise ValueError(f"action {action!r} with a reason of type {type(reason).__name__}")


_new: Final = tuple.__new__
"""Makes an `Outcome` of its values; called by its name it would make one by way of Python code."""
_FLOAT32: Final = np.dtype(np.float32)
_ACTIONS: Final = frozenset(map(int, Action))
_LATE: Final = Failure(LATE)
_SKIPPED: Final = Failure(SKIPPED)
