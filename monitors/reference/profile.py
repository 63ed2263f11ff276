"""The reference a stream is compared with: fixed bins per column, and how many rows fell in each.

Only counts are kept, so a profile is small, holds no row of the data it was made from, and a
window can be compared with it whatever its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from monitors.reference.categorical_column import (
    CategoricalColumn,
    as_text,
    fit_categorical,
)
from monitors.reference.column_quality import ColumnQuality, quality_of
from monitors.reference.numeric_column import NumericColumn, fit_numeric
from monitors.reference.pair_sketch import PairSums
from monitors.reference.row_codes import Column, RowCodes
from monitors.reference.text_column import TextColumn, fit_text
from monitors.reference.time_order import ReferenceCell, cut

__all__ = ["CategoricalColumn", "Column", "NumericColumn", "ReferenceProfile", "TextColumn"]

_TEXT_DISTINCT: Final = 0.5
"""Share of rows with a value of their own above which text has no categories."""


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """What the columns looked like when the model was right.

    Attributes:
        n: rows of the reference.
        columns: bins and counts by column name.
        pairs: sums over the rows of how pairs of numeric columns go together; None: nobody has
            computed them.
        cells: the reference cut in its own time order; empty where it has none.
        outputs: what the model answered to the reference; None: nobody has asked it.
        quality: of what type and how complete the columns were, by name; empty: nobody has looked.
    """

    n: int
    columns: Mapping[str, Column]
    pairs: PairSums | None = None
    cells: tuple[ReferenceCell, ...] = ()
    outputs: ReferenceProfile | None = None
    quality: Mapping[str, ColumnQuality] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, np.ndarray],
        max_bins: int = 20,
        times: np.ndarray | None = None,
    ) -> ReferenceProfile:
        """Make a profile of reference data.

        Arrays of numbers and booleans become numeric columns, with edges midway between
        neighbouring values at the reference's quantiles, at half a percent from both ends and
        beyond the ends; a value that fills a whole bin by itself is cut off on both sides, so
        constant and discrete columns keep their atoms. Arrays of text, bytes or objects become
        categorical columns, in which a category needs twenty rows for a bin of its own; without
        any such category, and with more values than half the rows, they become text.

        Args:
            columns: values by column name, each [n] with the same n.
            max_bins: quantile bins of a numeric column (atoms, tails and ends add to them), and
                categories with a bin of their own.
            times: event time of each row in seconds since the epoch, float64 [n]; None: the rows
                are in no order.

        Raises:
            ValueError: no columns, no rows, unequal lengths, a time that is no number, or
                max_bins < 2.
        """
        lengths = {np.shape(values)[:1] for values in columns.values()}
        if len(lengths) != 1 or lengths <= {(0,), ()}:
            raise ValueError("reference columns must be [n] arrays with the same n > 0")
        if max_bins < 2:
            raise ValueError("max_bins must be at least 2")
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        fitted = {name: _fit(values, max_bins) for name, values in arrays.items()}
        rows = lengths.pop()[0]
        coder = RowCodes(fitted)
        codes = coder.codes(arrays, rows)
        return cls(
            n=rows,
            columns=fitted,
            pairs=coder.pair_sums(codes),
            cells=() if times is None else cut(coder, codes, times),
            quality={name: quality_of(values) for name, values in arrays.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON-serialisable values."""
        raw: dict[str, Any] = {
            "n": self.n,
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
        }
        if self.pairs is not None:
            raw["pairs"] = self.pairs.to_dict()
        if self.cells:
            raw["cells"] = [cell.to_dict() for cell in self.cells]
        if self.outputs is not None:
            raw["outputs"] = self.outputs.to_dict()
        if self.quality:
            raw["quality"] = {name: each.to_dict() for name, each in self.quality.items()}
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ReferenceProfile:
        """Return the profile that `to_dict` was called on; older ones have less in them.

        Raises:
            ValueError, KeyError, TypeError: it is no profile, or its parts do not fit together.
        """
        columns = {name: _from_dict(column) for name, column in raw["columns"].items()}
        coder = RowCodes(columns)
        for track in coder.tracks:
            if len(track.bins.counts) != track.bins.bins:
                raise ValueError(f"column '{track.column}' has not as many counts as bins")
        pairs = PairSums.from_dict(raw["pairs"], coder.sketch) if "pairs" in raw else None
        cells = tuple(ReferenceCell.from_dict(cell) for cell in raw.get("cells", ()))
        shapes = {(cell.counts.shape, cell.pairs.shape) for cell in cells}
        if shapes - {((coder.bins,), (2, coder.sketch.buckets))}:
            raise ValueError("the cells are not of these columns")
        outputs = cls.from_dict(raw["outputs"]) if "outputs" in raw else None
        quality = {
            name: ColumnQuality.from_dict(each) for name, each in raw.get("quality", {}).items()
        }
        return cls(int(raw["n"]), columns, pairs, cells, outputs, quality)


def _fit(values: np.ndarray, max_bins: int) -> Column:
    if values.dtype.kind in "biuf":
        return fit_numeric(values.astype(np.float64), max_bins)
    texts = [as_text(value) for value in values.tolist()]
    seen = Counter(text for text in texts if text is not None)
    present = seen.total()
    column = fit_categorical(seen, len(texts) - present, max_bins)
    if not column.categories and len(seen) > _TEXT_DISTINCT * present:
        return fit_text(texts, max_bins)
    return column


def _from_dict(raw: dict[str, Any]) -> Column:
    if "edges" in raw:
        return NumericColumn.from_dict(raw)
    if "length" in raw:
        return TextColumn.from_dict(raw)
    return CategoricalColumn.from_dict(raw)
