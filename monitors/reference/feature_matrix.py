"""Features of any kind as one matrix of numbers, as trees of scikit-learn take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.coarse_columns import coarse_column

_MOST_CATEGORIES: Final = 200
"""Categories with a number of their own; trees take up to 255."""
_LARGEST: Final = np.finfo(np.float64).max


class FeatureMatrix:
    """Numbers columns as those of the reference were: what is missing is NaN.

    Args:
        reference: columns by name, [n] each; n > 0.
    """

    def __init__(self, reference: Mapping[str, np.ndarray]) -> None:
        self.names = sorted(reference)
        self._categories: dict[str, CategoricalColumn] = {}
        for name in self.names:
            if not _numeric(reference[name]):
                found = coarse_column(reference[name], _MOST_CATEGORIES)
                assert isinstance(found, CategoricalColumn)
                self._categories[name] = found

    @property
    def categorical(self) -> np.ndarray:
        """Which columns are categories, bool [k]."""
        return np.array([name in self._categories for name in self.names], np.bool_)

    def of(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the columns as float64 [n, k], in the order of `names`; n > 0.

        Raises:
            ValueError: they differ from those of the reference by name or by kind.
        """
        self._check(columns)
        return np.column_stack([self._numbers(name, columns[name]) for name in self.names])

    def _numbers(self, name: str, values: np.ndarray) -> np.ndarray:
        if name not in self._categories:
            return np.clip(values.astype(np.float64), -_LARGEST, _LARGEST)
        column = self._categories[name]
        codes = column.codes(values).astype(np.float64)
        return np.where(codes == len(column.categories) + 1, np.nan, codes)

    def _check(self, columns: Mapping[str, np.ndarray]) -> None:
        for name in self.names:
            if name not in columns:
                raise ValueError(f"column {name} of the reference is missing among the rows")
            if _numeric(columns[name]) == (name in self._categories):
                kinds = ("text", "numbers") if name in self._categories else ("numbers", "text")
                raise ValueError(
                    f"column {name} is {kinds[0]} in the reference and {kinds[1]} in the rows"
                )
        for name in sorted(set(columns) - set(self.names)):
            raise ValueError(f"column {name} of the rows is missing in the reference")


def _numeric(values: np.ndarray) -> bool:
    return values.dtype.kind in "biuf"
