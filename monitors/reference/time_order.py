"""A reference cut in its own time order: what its windows looked like, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.reference.row_codes import RowCodes

MOST_CELLS: Final = 700
LEAST_ROWS: Final = 25
MOST_ROWS: Final = 1000
"""Rows of a cell; more of them where there would be more than `MOST_CELLS` cells."""


@dataclass(frozen=True, slots=True)
class ReferenceCell:
    """Consecutive rows of a reference, as counts.

    Attributes:
        first, last: event times of the first and the last row, seconds since the epoch.
        n: rows.
        counts: rows per bin of all columns, int64 [bins], as in `RowCodes`.
        pairs: sums of the sketch of pairs and of their squares, float64 [2, buckets].
    """

    first: float
    last: float
    n: int
    counts: np.ndarray
    pairs: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "first": self.first,
            "last": self.last,
            "n": self.n,
            "counts": self.counts.tolist(),
            "pairs": self.pairs.astype(np.int64).tolist(),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ReferenceCell:
        """Return the cell that `to_dict` was called on."""
        return cls(
            float(raw["first"]),
            float(raw["last"]),
            int(raw["n"]),
            np.array(raw["counts"], np.int64),
            np.array(raw["pairs"], np.float64).reshape(2, -1),
        )


def cut(coder: RowCodes, codes: np.ndarray, times: np.ndarray) -> tuple[ReferenceCell, ...]:
    """Return cells of about as many rows each, in time order; none where they would be too few.

    Args:
        coder: of the reference's columns.
        codes: bins of its rows, int64 [tracks, n].
        times: event times, float64 [n], in any order.

    Raises:
        ValueError: a time is no finite number.
    """
    if not np.isfinite(times).all():
        raise ValueError("the times of a reference must be finite numbers")
    rows = len(times)
    size = int(np.clip(rows // MOST_CELLS, LEAST_ROWS, MOST_ROWS))
    number = min(rows // size, MOST_CELLS)
    if number < 2:
        return ()
    order = np.argsort(times, kind="stable")
    return tuple(_cell(coder, codes, times, part) for part in np.array_split(order, number))


def _cell(coder: RowCodes, codes: np.ndarray, times: np.ndarray, part: np.ndarray) -> ReferenceCell:
    inside = codes[:, part]
    return ReferenceCell(
        first=float(times[part[0]]),
        last=float(times[part[-1]]),
        n=len(part),
        counts=np.bincount(inside.ravel(), minlength=coder.bins),
        pairs=coder.pair_sums(inside).sketch,
    )
