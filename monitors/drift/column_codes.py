"""In which bin of its column of the reference each value of a batch falls, for all columns at once.

A batch has many columns and few rows, so a search for each column would mostly be calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from monitors.reference.profile import Column, NumericColumn

_FEW_EDGES: Final = 64
"""Values are compared with so many edges one after the other; with more of them one searches."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """Where a column of the reference is found in a batch.

    Attributes:
        input: name among the batch's columns.
        index: position in a row of that, flattened; 0 for a column [n].
        name: of the column in the reference.
        categorical: whether the values are categories (text or bytes).
    """

    input: str
    index: int
    name: str
    categorical: bool = False


class _Alike(NamedTuple):
    """Numeric columns with as many edges.

    Attributes:
        members: their positions, [m].
        edges, edges32: as `NumericColumn` has them, [k, m, 1].
    """

    members: list[int]
    edges: np.ndarray
    edges32: np.ndarray


class ColumnCodes:
    """Gives values their positions in the flat counts of all columns.

    Args:
        specs, columns: what is watched, and its reference.
        starts: where the counts of each column begin, and where the last one's end.
    """

    def __init__(
        self, specs: Sequence[ColumnSpec], columns: Sequence[Column], starts: np.ndarray
    ) -> None:
        self._specs, self._columns, self._starts = specs, columns, starts
        alike: dict[int, list[int]] = {}
        for at, column in enumerate(columns):
            if isinstance(column, NumericColumn) and len(column.outer) <= _FEW_EDGES:
                alike.setdefault(len(column.outer), []).append(at)
        self._alike = [
            _Alike(members, self._edges(members, "outer"), self._edges(members, "outer32"))
            for members in alike.values()
        ]
        together = {at for group in self._alike for at in group.members}
        self._alone = [at for at in range(len(specs)) if at not in together]

    def _edges(self, members: Iterable[int], which: str) -> np.ndarray:
        return np.stack([getattr(self._columns[at], which) for at in members], axis=1)[..., None]

    def of(self, given: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Return the positions of a batch's values, int64 [columns, rows].

        What is absent is counted as missing.
        """
        # The last bin of a column is that of missing values.
        codes = np.repeat(self._starts[1:, None] - 1, rows, axis=1)
        present = {name: array.reshape(rows, -1) for name, array in given.items()}
        for group in self._alike:
            self._together(codes, group, present, rows)
        for at in self._alone:
            spec = self._specs[at]
            if spec.input in present:
                values = present[spec.input][:, spec.index]
                if values.dtype.kind in "biuf":
                    values = values.astype(np.float64, copy=False)
                codes[at] = self._columns[at].codes(values) + self._starts[at]
        return codes

    def _together(
        self, codes: np.ndarray, group: _Alike, present: Mapping[str, np.ndarray], rows: int
    ) -> None:
        specs = [self._specs[at] for at in group.members]
        arrays = [present[spec.input] for spec in specs if spec.input in present]
        single = all(array.dtype == np.float32 for array in arrays)
        values = np.empty((len(specs), rows), np.float32 if single else np.float64)
        for row, spec in zip(values, specs, strict=True):
            row[:] = present[spec.input][:, spec.index] if spec.input in present else np.nan
        below = np.zeros(values.shape, np.uint8)
        reached = np.empty(values.shape, np.bool_)
        for edges in group.edges32 if single else group.edges:
            # Never true of NaN, whose bin is behind all others.
            below += np.greater_equal(edges, values, out=reached)
        codes[group.members] = self._starts[1:][group.members][:, None] - 1 - below
