"""The slices with the highest scores, level by level, pruned by what their parts can score."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from monitors.slices.discretised import Condition, Discretised
from monitors.slices.objectives import Objective

_KEPT: Final = 200
"""Slices that are kept; many of them are nearly the same."""
_MOST_PARENTS: Final = 1000
"""Slices of a level that are cut further; those with the highest scores."""


class Scored(NamedTuple):
    """A slice.

    Attributes:
        score: of the objective; above 0.
        conditions: in the order of the columns.
    """

    score: float
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found.

    Attributes:
        slices: the best ones, the highest score first; of equal scores that of fewer conditions.
        complete: whether no slice was passed over for the bound on memory.
    """

    slices: list[Scored]
    complete: bool


class _Parent(NamedTuple):
    score: float
    bound: float
    conditions: tuple[Condition, ...]
    rows: int


class _Search:
    def __init__(self, table: Discretised, objective: Objective) -> None:
        self._table, self._objective = table, objective
        self._conditions = np.array(table.conditions, np.int64).reshape(-1, 3)
        features = np.arange(len(table.names) + 1)
        self._starts = np.searchsorted(self._conditions[:, 0], features)
        self._best: list[tuple[float, int, tuple[Condition, ...]]] = []

    @property
    def _threshold(self) -> float:
        """What a slice must score more than to be kept."""
        return max(self._best[0][0], 0.0) if len(self._best) == _KEPT else 0.0

    def run(self, depth: int) -> Searched:
        parents = self._children(_Parent(0.0, np.inf, (), len(self._table.codes)), depth > 1)
        complete = True
        for level in range(2, depth + 1):
            parents = sorted((p for p in parents if p.bound > self._threshold), reverse=True)
            complete &= len(parents) <= _MOST_PARENTS
            children: list[_Parent] = []
            for parent in parents[:_MOST_PARENTS]:
                if parent.bound > self._threshold:  # which has risen since
                    children += self._children(parent, level < depth)
                if len(children) > 4 * _MOST_PARENTS:
                    children = heapq.nlargest(_MOST_PARENTS, children)
                    complete = False
            parents = children
        found = [Scored(score, conditions) for score, _, conditions in self._best]
        return Searched(sorted(found, key=lambda s: (-s.score, len(s.conditions))), complete)

    def _children(self, parent: _Parent, go_on: bool) -> list[_Parent]:
        """Score all slices that have one condition more, on a later column; return parents."""
        feature = parent.conditions[-1].feature + 1 if parent.conditions else 0
        which = slice(self._starts[feature], None)
        first, last = self._conditions[which, 1], self._conditions[which, 2] + 1
        if not len(first):
            return []
        codes, values = self._rows(parent, feature)
        rows, sums = self._sums(codes, values, first, last)
        scores = self._objective.score(rows, sums)
        # What leaves no row out is the same slice with a condition more.
        scores[rows == parent.rows] = -np.inf
        for at in np.flatnonzero(scores > self._threshold):
            self._keep(float(scores[at]), (*parent.conditions, self._at(which, at)))
        if not go_on:
            return []
        bounds = self._objective.bound(rows, sums, float(values[:, 0].max()))
        bounds[rows == parent.rows] = -np.inf
        return [
            _Parent(
                float(scores[at]),
                float(bounds[at]),
                (*parent.conditions, self._at(which, at)),
                int(rows[at]),
            )
            for at in np.flatnonzero(bounds > self._threshold)
        ]

    def _at(self, which: slice, at: np.intp) -> Condition:
        return self._table.conditions[int(which.start) + int(at)]

    def _rows(self, parent: _Parent, feature: int) -> tuple[np.ndarray, np.ndarray]:
        if not parent.conditions:
            return self._table.codes, self._objective.values
        inside = np.flatnonzero(self._table.holds(parent.conditions))
        return self._table.codes[inside, feature:], self._objective.values[inside]

    def _sums(
        self, codes: np.ndarray, values: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows [m] and sums [s, m] of conditions, which are ranges of codes."""
        flat, width = codes.ravel(), codes.shape[1]
        counts: np.ndarray = np.bincount(flat, minlength=self._table.size)
        found = [counts]
        found += [
            np.bincount(flat, np.repeat(column, width), self._table.size) for column in values.T
        ]
        sums = np.zeros((len(found), self._table.size + 1))
        np.cumsum(found, axis=1, out=sums[:, 1:])
        ranges = sums[:, last] - sums[:, first]
        return ranges[0], ranges[1:]

    def _keep(self, score: float, conditions: tuple[Condition, ...]) -> None:
        entry = (score, -len(conditions), conditions)
        if len(self._best) < _KEPT:
            heapq.heappush(self._best, entry)
        else:
            heapq.heappushpop(self._best, entry)


def search(table: Discretised, objective: Objective, depth: int) -> Searched:
    """Return the slices with the highest scores.

    Every slice that could score more than those that are found is looked at, unless there are too
    many for the bound on memory.

    Source: Sagadeeva and Boehm (2021), SliceLine, algorithm 1.

    Args:
        table: columns of the rows.
        objective: of the same rows.
        depth: conditions that a slice has at most.
    """
    return _Search(table, objective).run(depth)
