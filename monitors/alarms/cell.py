"""What a law of alarms is shown of one window: sums of k statistics of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One window of a stream of rows, as sums of k bounded statistics of each row.

    A statistic may be undefined on some rows (a rank of a missing value is); such rows are in `n`
    and not in `counts`.

    Attributes:
        first, last: event times of its first and last row, seconds since the epoch.
        n: rows.
        counts: [k] rows on which the statistic is defined.
        sums: [k] of the statistic over these rows.
        squares: [k] of its squares.

    Raises:
        ValueError: the arrays differ in shape, hold what is no finite number, or the times are in
            the wrong order.
    """

    first: float
    last: float
    n: int
    counts: npt.NDArray[np.float64]
    sums: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = self.counts.shape
        if len(shape) != 1 or self.sums.shape != shape or self.squares.shape != shape:
            raise ValueError("counts, sums and squares of a cell must have one entry per statistic")
        if not self.first <= self.last:
            raise ValueError("a cell must begin before it ends")
        # A sum is NaN or infinite if an entry is: cheaper than a look at each of them.
        if not np.isfinite(self.counts.sum() + self.sums.sum() + self.squares.sum()):
            raise ValueError("counts, sums and squares of a cell must be finite")

    @property
    def streams(self) -> int:
        """How many statistics it holds, k."""
        return len(self.counts)

    @property
    def middle(self) -> float:
        """The time that it stands for, seconds since the epoch."""
        return (self.first + self.last) / 2

    def merged(self, other: Cell) -> Cell:
        """Return the cell of the rows of both."""
        return Cell(
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            n=self.n + other.n,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
        )

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "first": self.first,
            "last": self.last,
            "n": self.n,
            "counts": self.counts.tolist(),
            "sums": self.sums.tolist(),
            "squares": self.squares.tolist(),
        }

    @classmethod
    def from_state(cls, raw: dict[str, Any]) -> Cell:
        """Return the cell that `state` was taken of.

        Raises:
            ValueError, KeyError, TypeError: it is no such state.
        """
        return cls(
            first=float(raw["first"]),
            last=float(raw["last"]),
            n=int(raw["n"]),
            counts=np.array(raw["counts"], float),
            sums=np.array(raw["sums"], float),
            squares=np.array(raw["squares"], float),
        )
