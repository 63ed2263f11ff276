"""The scores of classes that predictions had, in one array: no row costs an object."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

MOST_SCORES: Final = 64
"""Classes whose scores are kept; of a model with more there are none."""


class ScoreColumn:
    """Scores of rows in places that follow each other, float32 [rows, classes].

    A row without scores holds NaN. A model that has none costs nothing.
    """

    def __init__(self) -> None:
        self._array = np.empty((0, 0), np.float32)
        self._rows = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._rows

    def add(self, rows: int, scores: np.ndarray | None = None) -> None:
        """Append rows.

        Args:
            rows: how many, n.
            scores: [n, classes]; None: they have none. Where their number of classes is not that
                of the rows before, they have none either.
        """
        first, self._rows = self._rows, self._rows + rows
        if not self._array.shape[1]:
            if scores is None or not 0 < scores.shape[1] <= MOST_SCORES:
                return
            self._array = np.full((max(self._rows, 64), scores.shape[1]), np.nan, np.float32)
        if self._rows > len(self._array):
            grown = np.full((2 * self._rows, self._array.shape[1]), np.nan, np.float32)
            grown[:first] = self._array[:first]
            self._array = grown
        if scores is not None and scores.shape[1] == self._array.shape[1]:
            self._array[first : self._rows] = scores
        else:
            self._array[first : self._rows] = np.nan

    def row(self, at: int) -> list[float] | None:
        """Return the scores of a row; None where it has none."""
        if not self._array.shape[1]:
            return None
        values: list[float] = self._array[at].tolist()
        return None if all(value != value for value in values) else values

    def blank(self, at: int) -> None:
        """Take the scores of a row away."""
        if self._array.shape[1]:
            self._array[at] = np.nan

    def drop(self, count: int) -> None:
        """Give back the places of the first rows."""
        self._rows -= count
        if self._array.shape[1]:
            self._array = self._array[count : count + self._rows].copy()

    def take(self, places: Sequence[int]) -> ScoreColumn:
        """Return some rows as a column of their own."""
        taken = ScoreColumn()
        taken._rows = len(places)
        taken._array = self._array[list(places)] if self._array.shape[1] else self._array
        return taken

    def saved(self, first: int, end: int) -> list[Any] | None:
        """Return rows from `first` to before `end` as JSON values; None where none has scores."""
        if not self._array.shape[1]:
            return None
        return _packed(self._array[first:end])


def without_rows(saved: Sequence[Any] | None, out: Sequence[bool]) -> list[Any] | None:
    """Return what `ScoreColumn.saved` told with no scores of the rows that are `out`."""
    scores = restored(saved)
    if scores is None:
        return None
    kept = np.where(np.array(out)[:, None], np.float32(np.nan), scores)
    return _packed(kept)


def _packed(scores: np.ndarray) -> list[Any]:
    packed = np.ascontiguousarray(scores, "<f4").tobytes()
    return [scores.shape[1], binascii.b2a_base64(packed, newline=False).decode()]


def restored(saved: Sequence[Any] | None) -> np.ndarray | None:
    """Return the scores that `ScoreColumn.saved` told, [rows, classes].

    Raises:
        ValueError: they are not what it told.
    """
    if saved is None:
        return None
    classes, packed = saved
    values: np.ndarray = np.frombuffer(binascii.a2b_base64(packed), "<f4")
    return values.reshape(-1, classes)
