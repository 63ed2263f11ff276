"""Where a model is worst, without being told where to look: found on half of the rows, and
confirmed on the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from monitors.slices.confirmation import Confirmed, error_confirmed, gap_confirmed, worse_by
from monitors.slices.discretised import Condition, Discretised, discretised
from monitors.slices.objectives import (
    SUPPORT,
    DisparityObjective,
    ErrorObjective,
    Objective,
    gap_of,
)
from monitors.slices.refinement import refined
from monitors.slices.search import search
from monitors.slices.slice_report import Slice, SliceReport
from monitors.statistics.holm import holm

FEWEST: Final = 4 * SUPPORT
"""Rows without which there is nothing to search."""
_MOST_CELLS: Final = 20_000_000
"""Values of columns that are searched; of more rows a sample is."""
_ALIKE: Final = 0.5
"""Two slices are the same if they share this part of the rows that are in either."""


def worst_slices(
    columns: Mapping[str, np.ndarray],
    errors: np.ndarray,
    *,
    top: int = 10,
    depth: int = 3,
    alpha: float = 0.95,
    level: float = 0.05,
    seed: int = 0,
) -> SliceReport:
    """Return slices with a high mean error.

    Source: Sagadeeva and Boehm (2021), SliceLine, SIGMOD; here with ranges of numbers, and with
    held-out rows for the verdict. Slices have at least 32 rows and 1 % of the rows searched. Those
    that share half of their rows count as one, and a condition that makes a slice hardly worse is
    left out. Rows are taken for independent.

    Args:
        columns: features by name, [n] each; see `discretised`.
        errors: of the rows, not negative, [n]: 0 and 1, or losses in any unit.
        top: candidates that are confirmed, at most.
        depth: conditions that a slice has at most.
        alpha: weight of the error against that of the size, in (0, 1].
        level: of the tests together; intervals are of 1 - level.
        seed: of the split into halves.

    Raises:
        ValueError: what is given cannot be searched; says which argument or column.
    """
    _check_values("errors", errors)
    if errors.min() < 0:
        raise ValueError(f"errors are as low as {errors.min():g}; they must not be negative")
    numbers = errors.astype(np.float64)

    def objective(some: np.ndarray) -> Objective:
        return ErrorObjective(numbers[some], alpha)

    def confirm(some: np.ndarray, inside: np.ndarray) -> Confirmed:
        return error_confirmed(numbers[some], inside, 1 - level)

    def worse(some: np.ndarray, inside: np.ndarray, without: np.ndarray) -> float:
        return worse_by(numbers[some][inside], numbers[some][without])

    problem = _Problem(objective, confirm, worse, lambda some: float(numbers[some].mean()))
    return _find(columns, problem, len(errors), _Settings(top, depth, alpha, level, seed))


def most_disparate_slices(
    columns: Mapping[str, np.ndarray],
    outcomes: np.ndarray,
    members: np.ndarray,
    *,
    top: int = 10,
    depth: int = 3,
    alpha: float = 0.95,
    level: float = 0.05,
    seed: int = 0,
) -> SliceReport:
    """Return slices in which a group's rate differs most from that of the others.

    As `worst_slices`, but with the gap of the rates in place of the mean error, and at least 32
    rows of each group in a slice. A slice is confirmed if its gap is larger than that of the rest.

    Args:
        columns, top, depth, alpha, level, seed: as for `worst_slices`.
        outcomes: 0 or 1, [n]: whether a row was selected, or was answered wrongly.
        members: which rows are of the group, bool [n].

    Raises:
        ValueError: what is given cannot be searched; says which argument or column.
    """
    _check_values("outcomes", outcomes)
    if not np.isin(outcomes, (0, 1)).all():
        raise ValueError("outcomes must be 0 or 1")
    if members.shape != outcomes.shape or members.dtype.kind != "b":
        raise ValueError(f"members must be booleans [{len(outcomes)}], one a row")
    if min(members.sum(), (~members).sum()) < FEWEST:
        raise ValueError(f"members must be at least {FEWEST} rows, and so must the others")
    hits = outcomes.astype(np.float64)

    def objective(some: np.ndarray) -> Objective:
        return DisparityObjective(hits[some], members[some], alpha)

    def confirm(some: np.ndarray, inside: np.ndarray) -> Confirmed:
        return gap_confirmed(hits[some], members[some], inside, 1 - level)

    def worse(some: np.ndarray, inside: np.ndarray, without: np.ndarray) -> float:
        # Signed so that the gap of all rows does not matter: outcomes of members against others.
        share = float(members[some].mean())
        signed = np.where(members[some], hits[some] / share, -hits[some] / (1 - share))
        sign = np.sign(signed[inside].mean()) or 1.0
        return worse_by(sign * signed[inside], sign * signed[without])

    problem = _Problem(objective, confirm, worse, lambda some: gap_of(hits[some], members[some]))
    return _find(columns, problem, len(outcomes), _Settings(top, depth, alpha, level, seed))


@dataclass(frozen=True, slots=True)
class _Settings:
    top: int
    depth: int
    alpha: float
    level: float
    seed: int

    def __post_init__(self) -> None:
        if self.top < 1 or self.depth < 1:
            raise ValueError("top and depth must be at least 1")
        if not 0 < self.alpha <= 1 or not 0 < self.level < 1:
            raise ValueError("alpha and level must be between 0 and 1")


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is searched for, as functions of some of the rows, by index.

    Attributes:
        objective: scores slices of these rows.
        confirm: takes which of these rows are in a slice.
        worse: takes those in a slice, and those that a condition leaves out; standard errors.
        overall: value of these rows.
    """

    objective: Callable[[np.ndarray], Objective]
    confirm: Callable[[np.ndarray, np.ndarray], Confirmed]
    worse: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    overall: Callable[[np.ndarray], float]


def _find(
    columns: Mapping[str, np.ndarray], problem: _Problem, n: int, settings: _Settings
) -> SliceReport:
    for name, values in columns.items():
        if values.shape != (n,):
            raise ValueError(f"column {name} has shape {list(values.shape)}; it must be [{n}]")
    table = discretised(columns)
    found, held = _halves(n, len(columns), settings.seed)
    part = _some(table, found)
    searched = search(part, problem.objective(found), settings.depth)
    candidates: list[tuple[float, tuple[Condition, ...], np.ndarray]] = []
    for score, conditions in searched.slices:
        if len(candidates) == settings.top:
            break
        inside = part.holds(conditions)
        if any(_share(inside, other) > _ALIKE for _, _, other in candidates):
            continue
        simple = refined(part, conditions, partial(problem.worse, found))
        inside = part.holds(simple)
        if not any(_share(inside, other) > _ALIKE for _, _, other in candidates):
            candidates.append((score, simple, inside))
    slices = _confirmed(candidates, table, held, problem, settings)
    slices.sort(key=lambda each: (not each.confirmed, -each.score))
    return SliceReport(slices, searched.complete)


def _confirmed(
    candidates: list[tuple[float, tuple[Condition, ...], np.ndarray]],
    table: Discretised,
    held: np.ndarray,
    problem: _Problem,
    settings: _Settings,
) -> list[Slice]:
    rows = [table.holds(conditions) for _, conditions, _ in candidates]
    results = [problem.confirm(held, inside[held]) for inside in rows]
    adjusted = holm(np.array([each.p_value for each in results]))
    overall = problem.overall(held)
    return [
        Slice(
            columns=tuple(table.names[each.feature] for each in conditions),
            conditions=tuple(table.words[each] for each in conditions),
            n=int(inside[held].sum()),
            value=result.value,
            low=result.low,
            high=result.high,
            overall=overall,
            p_value=float(p_value),
            confirmed=bool(p_value <= settings.level),
            score=score,
            rows=inside,
        )
        for (score, conditions, _), inside, result, p_value in zip(
            candidates, rows, results, adjusted, strict=True
        )
    ]


def _halves(n: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to search and those held out, rising; a sample of many rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)[: max(2 * (_MOST_CELLS // max(columns, 1)), FEWEST)]
    return np.sort(order[::2]), np.sort(order[1::2])


def _some(table: Discretised, rows: np.ndarray) -> Discretised:
    return Discretised(table.names, table.codes[rows], table.size, table.conditions, table.words)


def _share(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def _check_values(name: str, values: np.ndarray) -> None:
    if values.ndim != 1 or len(values) < FEWEST:
        raise ValueError(
            f"{name} have shape {list(values.shape)}; slices need [n] of at least {FEWEST} rows"
        )
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite numbers, without NaN")
    if values.min() == values.max():
        raise ValueError(f"{name} are all {values[0]:g}; there is no worst slice")
