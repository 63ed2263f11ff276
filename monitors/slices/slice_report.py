"""What a search for slices tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows with something in common on which a model is bad.

    All figures are of held-out rows, which did not help to find it.

    Attributes:
        columns: that conditions are on, one each.
        conditions: in words.
        n: held-out rows.
        value: mean error, in its own unit, or rate of the group less that of the others.
        low, high: interval of the value.
        overall: the same of all held-out rows.
        p_value: that the slice is no worse than the rest, one-sided, by Holm over all candidates.
        confirmed: whether that is below the level.
        score: SliceLine's, on the rows by which it was found.
        rows: which of all rows that were given are in it, bool [n]; of a sample where there were
            too many.
    """

    columns: tuple[str, ...]
    conditions: tuple[str, ...]
    n: int
    value: float
    low: float
    high: float
    overall: float
    p_value: float
    confirmed: bool
    score: float
    rows: np.ndarray

    @property
    def words(self) -> str:
        """Such as "age < 25 and region = north"."""
        return " and ".join(self.conditions)

    @property
    def lift(self) -> float:
        """The value over that of all rows; NaN if that is 0."""
        return self.value / self.overall if self.overall else float("nan")


@dataclass(frozen=True, slots=True)
class SliceReport:
    """What was found.

    Attributes:
        slices: confirmed ones first; of these the highest score first.
        complete: whether every slice was looked at that could be among them.
    """

    slices: list[Slice]
    complete: bool
