"""Rows as bins: where in one flat vector of counts each value of each column is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import RANK_STEPS, NumericColumn
from monitors.reference.text_column import TextColumn

MOST_PAIRED: Final = 30
"""Numeric columns up to which all pairs of them are watched; with more, none is."""

RANK_SQUARE: Final = RANK_STEPS**2
"""Largest product of two centred ranks."""

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
        pairs: positions in `paired` of the first and the second of each pair, int64 [2, pairs].
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
        self.pairs = np.stack(np.triu_indices(len(self.paired), 1))
        ranks, present = np.zeros(self.bins), np.zeros(self.bins)
        for at in self.paired:
            span = slice(self.starts[at], self.starts[at + 1])
            column = self.tracks[at].bins
            assert isinstance(column, NumericColumn)
            ranks[span], present[span] = column.centred_ranks(), 1.0
            present[self.starts[at + 1] - 1] = 0.0  # the bin of missing values
        self._ranks, self._present = ranks, present

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

    def products(self, codes: np.ndarray) -> np.ndarray:
        """Return sums over rows for each pair, float64 [3, pairs]: rows, products, their squares.

        The products are of centred ranks, whole numbers; so are all three.

        Args:
            codes: what `codes` returned, or some of its rows.
        """
        flat = codes[self.paired]
        ranks, present = self._ranks[flat], self._present[flat]
        squares = ranks * ranks
        first, second = self.pairs
        sums = (present @ present.T, ranks @ ranks.T, squares @ squares.T)
        return np.stack([each[first, second] for each in sums])


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
