"""Columns of inputs as a few bins each: what estimates need of a row, and no value of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.coarse_columns import Coarse, coarse_column, plain
from monitors.reference.numeric_column import NumericColumn

MOST_COLUMNS: Final = 64
"""Of more columns none is used: a window of them would be most of a checkpoint."""
_BINS: Final = 32


@dataclass(frozen=True, slots=True)
class BinnedColumns:
    """Bins of columns, by name.

    Attributes:
        columns: bins as the reference has them; empty: nothing is known of the inputs.
    """

    columns: Mapping[str, Coarse]

    @classmethod
    def fit(cls, columns: Mapping[str, np.ndarray]) -> BinnedColumns:
        """Return bins of columns [n]; of none where there are more than `MOST_COLUMNS`."""
        if len(columns) > MOST_COLUMNS:
            return cls({})
        return cls({name: coarse_column(values, _BINS) for name, values in columns.items()})

    def codes(self, columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """Return the bin of each value, uint8 [rows, k], in the order of `columns`.

        Raises:
            ValueError: a column is missing.
        """
        found = np.empty((rows, len(self.columns)), np.uint8)
        for at, (name, column) in enumerate(self.columns.items()):
            if name not in columns:
                raise ValueError(f"column '{name}' of the profile is missing among the rows")
            found[:, at] = column.codes(plain(columns[name]))
        return found

    def features(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Return codes [n, k] as columns of numbers by name."""
        return {name: codes[:, at] for at, name in enumerate(self.columns)}

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: column.to_dict() for name, column in self.columns.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> BinnedColumns:
        """Return what `to_dict` was called on."""
        return cls({name: _column(each) for name, each in raw.items()})


def _column(raw: dict[str, Any]) -> Coarse:
    return NumericColumn.from_dict(raw) if "edges" in raw else CategoricalColumn.from_dict(raw)
