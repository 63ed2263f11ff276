"""Rows as bins: where in one flat vector of counts each value of each column is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import RANK_STEPS, NumericColumn
from monitors.reference.pair_sketch import PairSketch, PairSums
from monitors.reference.text_column import TextColumn

MOST_PAIRED: Final = 30
"""Numeric columns up to which pairs of them are watched; with more, none is."""

RANK_SQUARE: Final = RANK_STEPS**2
"""Largest product of two centred ranks."""

_ROWS_AT_ONCE: Final = 512
"""Rows whose products of all pairs are held in memory."""

Column = NumericColumn | CategoricalColumn | TextColumn


@dataclass(frozen=True, slots=True)
class Track:
    """One value of every row, and its bins. A text has two: its length and its unseen words.

    Attributes:
        column: the column's name.
        bins: numeric or categorical bins.
        measure: what of the column it is: empty for its value, or `length`, `unseen words`.
    """

    column: str
    bins: NumericColumn | CategoricalColumn
    measure: str = ""


class RowCodes:
    """Finds the bin of every value of a batch, in the flat counts of all columns.

    Args:
        columns: bins by column name.

    Attributes:
        tracks: what is counted, in the order of the columns.
        starts: first bin of each track, and the number of bins at the end, int64 [tracks + 1].
        paired: tracks whose pairs are watched.
        sketch: of these pairs.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self.tracks = [track for name, each in columns.items() for track in _tracks(name, each)]
        sizes = [track.bins.bins for track in self.tracks]
        self.starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        numeric = [
            at
            for at, track in enumerate(self.tracks)
            if isinstance(track.bins, NumericColumn) and not track.measure and _varies(track.bins)
        ]
        self.paired = np.array(numeric if len(numeric) <= MOST_PAIRED else [], np.int64)
        self.sketch = PairSketch(len(self.paired))
        # Exact in so few bits: ranks, their products, and sums of some of these.
        self._ranks = np.zeros(self.bins, np.float32)
        for at in self.paired:
            column = self.tracks[at].bins
            assert isinstance(column, NumericColumn)
            self._ranks[self.starts[at] : self.starts[at + 1]] = column.centred_ranks()

    @property
    def bins(self) -> int:
        """Number of bins of all tracks."""
        return int(self.starts[-1])

    def codes(self, columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Return the bins of a batch's values, int64 [tracks, rows].

        A column that the batch lacks, or that cannot be read as what the reference has, counts
        as missing. So does what a column of numbers has beside numbers.

        Args:
            columns: values by column name, each [rows].
            rows: of the batch.
        """
        found = np.repeat(self.starts[1:, None] - 1, rows, axis=1)
        at = 0
        for name, column in self._columns.items():
            wide = 2 if isinstance(column, TextColumn) else 1
            if name in columns:
                for more, codes in enumerate(_codes(column, columns[name])):
                    found[at + more] = codes + self.starts[at + more]
            at += wide
        return found

    def ranks(self, codes: np.ndarray) -> np.ndarray:
        """Return the centred ranks of the paired columns, float32 [paired, rows].

        They are whole numbers; a missing value is in the middle.

        Args:
            codes: what `codes` returned, or some of its rows.
        """
        ranks: np.ndarray = self._ranks[codes[self.paired]]
        return ranks

    def rank_sums(self, counts: np.ndarray) -> np.ndarray:
        """Return the sums of these ranks over rows, float64 [paired].

        Args:
            counts: of the rows, by bin, int64 [bins].
        """
        weighed = np.append(counts * self._ranks.astype(np.float64), 0.0)
        sums: np.ndarray = np.add.reduceat(weighed, self.starts[:-1])[self.paired]
        return sums

    def pair_sums(self, codes: np.ndarray) -> PairSums:
        """Return the sums of pairs over rows with these bins."""
        sums = PairSums(self.sketch)
        for start in range(0, codes.shape[1], _ROWS_AT_ONCE):
            sums.add(self.ranks(codes[:, start : start + _ROWS_AT_ONCE]))
        return sums


def as_numbers(values: np.ndarray) -> np.ndarray:
    """Return values as float32 or float64 [n]; what is no number becomes NaN."""
    if values.dtype == np.float32:
        return values
    if values.dtype.kind in "biuf":
        return values.astype(np.float64, copy=False)
    return np.array([_number(value) for value in values.tolist()], np.float64)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _tracks(name: str, column: Column) -> list[Track]:
    if isinstance(column, TextColumn):
        return [Track(name, column.length, "length"), Track(name, column.unseen, "unseen words")]
    return [Track(name, column)]


def _codes(column: Column, values: np.ndarray) -> tuple[np.ndarray, ...]:
    if isinstance(column, NumericColumn):
        return (column.codes(as_numbers(values)),)
    if isinstance(column, CategoricalColumn):
        return (column.codes(values),)
    length, unseen = column.measured(values)
    return column.length.codes(length), column.unseen.codes(unseen)


def _varies(column: NumericColumn) -> bool:
    return int((column.counts[:-1] > 0).sum()) > 1
