"""The one value that every monitor is fed with: a batch of rows as a struct of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np

PASSED: Final = 0
FLAGGED: Final = 1
"""By a guard, whatever its action."""
UNJUDGED: Final = 2
"""The guard failed, or was skipped."""


def _nothing() -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one model version: predictions, or with `labels` those whose truth became known.

    The first axis of every array is the row. Nobody writes to the arrays, and they may be kept.

    Attributes:
        n: number of rows.
        timestamp: seconds since the epoch when they were answered, or their truth became known.
        columns: the watched columns of the inputs by name, [n] or [n, ...].
        outputs: the model's outputs by name, [n, ...].
        groups: sensitive values as text by attribute name, object arrays [n]; None where a row
            has none. With labels: those that came with the label and not with the request. They
            never leave the monitors except as counts.
        request_groups: with labels, those that came with the request; also None where nobody knows
            any more what came.
        scores: of the classes, floating [n, classes]; NaN where a row has none; None: no row has.
        predicted: index of the predicted class, int64 [n], -1 where the model gave no number;
            where labels are numbers, what they are compared with, float64 [n] or [n, k]; None
            where nobody needs it.
        labels: index of the true class, int64 [n], or numbers as in `predicted`; None for
            predictions.
        positions: how many rows of the version had a label before each one, int64 [n], rising; -1
            where that is not known; empty for predictions.
        answered: with labels, when each row was answered, seconds since the epoch, float64 [n];
            empty where nobody knows.
        request_ids: the client's id of each row's request, length n; empty with labels.
        guards: by guard what became of each row, uint8 [n]: see `PASSED`, `FLAGGED`, `UNJUDGED`;
            only where nothing but that is told.
        row_index: index of each row inside its request, int64 [n]; empty with labels.
    """

    n: int
    timestamp: float
    columns: Mapping[str, np.ndarray] = field(default_factory=_nothing)
    outputs: Mapping[str, np.ndarray] = field(default_factory=_nothing)
    groups: Mapping[str, np.ndarray] = field(default_factory=_nothing)
    request_groups: Mapping[str, np.ndarray] = field(default_factory=_nothing)
    scores: np.ndarray | None = None
    predicted: np.ndarray | None = None
    labels: np.ndarray | None = None
    positions: np.ndarray | Sequence[int] = ()
    answered: np.ndarray | Sequence[float] = ()
    request_ids: Sequence[str] = ()
    row_index: np.ndarray | Sequence[int] = ()
    guards: Mapping[str, np.ndarray] = field(default_factory=_nothing)

    def part(self, rows: slice) -> Rows:
        """Return some of the rows; `rows` has no step."""
        first, last, _ = rows.indices(self.n)
        return replace(
            self._arrays(rows),
            n=max(last - first, 0),
            positions=self.positions[rows],
            answered=self.answered[rows],
            request_ids=self.request_ids[rows],
            row_index=self.row_index[rows],
        )

    def some(self, which: np.ndarray) -> Rows:
        """Return the rows at which `which`, bool [n], is true."""
        at = np.flatnonzero(which)
        idents = self.request_ids
        return replace(
            self._arrays(at),
            n=len(at),
            positions=_chosen(self.positions, at),
            answered=_chosen(self.answered, at),
            request_ids=[idents[each] for each in at.tolist()] if idents else (),
            row_index=_chosen(self.row_index, at),
        )

    def _arrays(self, rows: slice | np.ndarray) -> Rows:
        """Return them with some rows of every array, and all else as it is."""
        return replace(
            self,
            columns={name: array[rows] for name, array in self.columns.items()},
            outputs={name: array[rows] for name, array in self.outputs.items()},
            groups={name: array[rows] for name, array in self.groups.items()},
            request_groups={name: array[rows] for name, array in self.request_groups.items()},
            scores=None if self.scores is None else self.scores[rows],
            predicted=None if self.predicted is None else self.predicted[rows],
            labels=None if self.labels is None else self.labels[rows],
            guards={name: array[rows] for name, array in self.guards.items()},
        )


_Number = TypeVar("_Number", int, float)


def _chosen(
    values: np.ndarray | Sequence[_Number], at: np.ndarray
) -> np.ndarray | Sequence[_Number]:
    chosen: np.ndarray | Sequence[_Number] = np.asarray(values)[at] if len(values) else ()
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Labelled rows whose labels were replaced, in the order in which that happened.

    Attributes:
        rows: as they are from now on, with the positions that they had; groups are those that
            came with the new label.
        labels: what was taken for true before, as in `Rows.labels`.
        groups: sensitive values that an earlier label had brought, as in `Rows.groups`; None where
            there was none.
    """

    rows: Rows
    labels: np.ndarray
    groups: Mapping[str, np.ndarray] = field(default_factory=_nothing)
