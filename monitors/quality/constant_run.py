"""How long a model has given the same answer, to inputs that differ."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

LEAST_ROWS: Final = 1000
"""Rows with the same answer below which nothing is said."""
LONGER: Final = 20
"""How many times as long as any run before one has to be.

Runs of a model whose most frequent answer has a share p are geometric: the longest of n is about
log n / -log p. To be 20 times as long has the probability n^-20.
"""


class ConstantRun:
    """Follows the run of equal answers at the end of a stream.

    Attributes:
        rows: of the current run; 0 before any row.
        longest: rows of the longest run that has ended.
        varied: whether inputs differed within the current run.
        sees_inputs: whether rows had inputs.
    """

    def __init__(self) -> None:
        self.rows = self.longest = 0
        self.varied = False
        self.sees_inputs = False
        self._answer = 0
        self._inputs = 0
        # Columns and row of the run's first row. Most runs are a row long, and nobody asks.
        self._unread: tuple[Sequence[np.ndarray], int] | None = None

    @property
    def limit(self) -> int:
        """Rows from which on a run is too long."""
        return max(LEAST_ROWS, LONGER * self.longest)

    def add(self, answers: np.ndarray, inputs: Sequence[np.ndarray]) -> None:
        """Take in rows.

        Args:
            answers: of a model, [n, k].
            inputs: columns [n]; none where the inputs are not known.
        """
        n = len(answers)
        if not n:
            return
        self.sees_inputs = self.sees_inputs or bool(inputs)
        same = (answers[1:] == answers[:-1]).all(axis=1)
        ends = np.flatnonzero(~same) + 1  # where runs begin within these rows
        unlike = bool((answers[0] != answers[0]).any())  # NaN, which equals nothing
        stops = not self.rows or unlike or _signature([answers[0]]) != self._answer
        starts = [*([0] if stops else []), *ends.tolist()]
        if starts:
            first = self.rows if stops else starts[0] + self.rows
            whole = np.diff(starts).max(initial=0)
            self.longest = max(self.longest, first, int(whole))
            self.rows, self.varied = n - starts[-1], False
            self._answer = _signature([answers[-1]])
            self._unread = inputs, starts[-1]
        else:
            self.rows += n
        if self.rows > 1 and not self.varied:
            self.varied = self._differ(inputs, starts[-1] if starts else 0)

    def _differ(self, inputs: Sequence[np.ndarray], start: int) -> bool:
        """Whether inputs from a row on are not all those of the run's first row."""
        if not inputs:
            return False
        return _at(inputs, start) != self._first() or any(_varies(each[start:]) for each in inputs)

    def _first(self) -> int:
        """Return what the inputs of the run's first row share with equal ones."""
        if self._unread is not None:
            self._inputs = _at(*self._unread)
            self._unread = None
        return self._inputs

    def state(self) -> list[Any]:
        """Return what is needed to go on after a restart, as JSON values without rows."""
        seen = [self.varied, self.sees_inputs]
        return [self.rows, self.longest, *seen, self._answer, self._first()]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from what `state` returned."""
        rows, longest, varied, sees_inputs, answer, inputs = state
        self.rows, self.longest, self.varied, self.sees_inputs = rows, longest, varied, sees_inputs
        self._answer, self._inputs, self._unread = answer, inputs, None


def _varies(values: np.ndarray) -> bool:
    first, others = values[0], values[1:]
    differs = others != first
    if values.dtype.kind == "f" and first != first:  # NaN is like NaN
        differs = others == others
    return bool(np.any(differs))


def _at(inputs: Sequence[np.ndarray], row: int) -> int:
    return _signature([each[row] for each in inputs])


def _signature(values: Sequence[Any]) -> int:
    """Return a number that equal values share."""
    seen = 0
    for value in values:
        # Zero is added, so that -0.0 is like 0.0.
        numeric = isinstance(value, np.ndarray | np.number)
        raw = (value + 0).tobytes() if numeric else repr(value).encode()
        seen = zlib.crc32(raw, seen)
    return seen
