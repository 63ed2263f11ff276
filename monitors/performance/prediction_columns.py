"""Predictions in columns: none of them costs an object."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from monitors.performance.forgotten_keys import Key
from monitors.performance.group_values import NO_GROUPS, Groups
from monitors.performance.labels import Value
from monitors.performance.score_column import ScoreColumn
from monitors.performance.stored_rows import StoredRow

NO_KEY: Final[Key] = ("", -1)
"""Of a place that holds no row."""


class PredictionColumns:
    """Rows with numbers that follow each other.

    Attributes:
        base: number of the row in the first place.
        keys: of the rows; `NO_KEY` where there is none.
    """

    def __init__(self, base: int = 1) -> None:
        self.base = base
        self.keys: list[Key] = []
        self._predicted: list[Value | None] = []
        self._timestamps: list[float] = []
        self._groups: list[Groups] = []
        self._scores = ScoreColumn()

    @property
    def end(self) -> int:
        """The number that the next row gets."""
        return self.base + len(self.keys)

    def add(
        self,
        keys: Sequence[Key],
        predicted: Sequence[Value | None],
        timestamps: Iterable[float],
        groups: Sequence[Groups] | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        """Append n rows; see `StoredRow`.

        Raises:
            ValueError: the columns differ in length; then nothing was appended.
        """
        n = len(keys)
        given = (predicted, groups, scores)
        if any(column is not None and len(column) != n for column in given):
            raise ValueError("the columns of predictions differ in length")
        self.keys += keys
        self._predicted += predicted
        self._timestamps += itertools.islice(timestamps, n)
        self._groups += itertools.repeat(NO_GROUPS, n) if groups is None else groups
        self._scores.add(n, scores)

    def row(self, number: int) -> StoredRow:
        """Return a row as an object."""
        at = number - self.base
        return StoredRow(
            self.keys[at], number, self._predicted[at], self._timestamps[at], self._groups[at],
            scores=self._scores.row(at),
        )  # fmt: skip

    def numbered(self, first: int, end: int) -> Iterable[tuple[int, Key]]:
        """Return the rows' numbers and keys, from `first` to before `end`."""
        return enumerate(self.keys[first - self.base : end - self.base], first)

    def values(
        self, first: int, end: int
    ) -> tuple[list[Key], list[Value | None], list[float], list[Groups], list[Any] | None]:
        """Return keys, what was predicted, times, groups and scores as they are saved.

        Args:
            first, end: from the one to before the other.
        """
        part = slice(first - self.base, end - self.base)
        scores = self._scores.saved(part.start, part.stop)
        return (
            self.keys[part], self._predicted[part], self._timestamps[part], self._groups[part],
            scores,
        )  # fmt: skip

    def predicted(self) -> Iterable[tuple[int, Value | None]]:
        """Return the rows' numbers and what was predicted."""
        return enumerate(self._predicted, self.base)

    def blank(self, number: int) -> None:
        """Take a row out of its place."""
        at = number - self.base
        self.keys[at], self._predicted[at], self._groups[at] = NO_KEY, None, NO_GROUPS
        self._scores.blank(at)

    def drop_before(self, number: int) -> None:
        """Give back the places of rows with lower numbers."""
        gone = number - self.base
        for column in self._all():
            del column[:gone]
        self._scores.drop(gone)
        self.base = number

    def only(self, numbers: Sequence[int]) -> PredictionColumns:
        """Return these rows, which ascend, with numbers that follow on mine."""
        places = [number - self.base for number in numbers]
        made = PredictionColumns(self.end)
        for column, mine in zip(made._all(), self._all(), strict=True):
            column += [mine[at] for at in places]
        made._scores = self._scores.take(places)
        return made

    def _all(self) -> tuple[list[Any], ...]:
        return (self.keys, self._predicted, self._timestamps, self._groups)
