"""The reference a stream is compared with: fixed bins per column, and how many rows fell in each.

Only counts are kept, so a profile is small, holds no row of the data it was made from, and a
window can be compared with it whatever its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LARGEST = np.finfo(np.float64).max
_OWN_BIN_ROWS = 20
_MANY_ROWS = 256
_FEW_EDGES = 64


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Bins of one numeric column: -inf | (-inf, e0] | (e0, e1] | ... | (ek, inf) | +inf | NaN.

    Attributes:
        edges: inner edges, float64 [k], increasing and finite.
        counts: reference rows per bin, int64 [k + 4].
        outer: all edges, float64 [k + 3]: a value is in the bin of the first that is not below it.
        outer32: the same for float32, which need not be widened.
    """

    edges: np.ndarray
    counts: np.ndarray
    outer: np.ndarray = field(init=False, repr=False, compare=False)
    outer32: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        outer = np.concatenate(([-np.inf], self.edges, [_LARGEST, np.inf]))
        object.__setattr__(self, "outer", outer)
        object.__setattr__(self, "outer32", _rounded_down(outer))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.outer) + 1

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value; float32 or float64 [n] in, int64 [n] out."""
        search = self.outer32 if values.dtype == np.float32 else self.outer
        if len(values) < _MANY_ROWS or len(search) > _FEW_EDGES:
            # NaN sorts behind +inf, which is exactly where its bin is.
            return search.searchsorted(values)
        # A binary search guesses wrong at every step. To compare with all of a few edges is
        # quicker, and what is not below an edge, as NaN, is counted alike.
        below = (search[:, None] >= values).view(np.uint8)
        codes: np.ndarray = len(search) - np.add.reduce(below, axis=0, dtype=np.uint8)
        return codes.astype(np.int64)


def _rounded_down(edges: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each edge: the same float32 lie above both."""
    with np.errstate(over="ignore"):
        rounded = edges.astype(np.float32)
    above = rounded > edges
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """Bins of one categorical column: one per category | every other value | missing.

    Rare values of the reference are not kept: they may identify somebody, and a value that the
    reference happened to miss is not told apart from one that it happened to hold once.

    Attributes:
        categories: values with a bin of their own, most frequent first.
        counts: reference rows per bin, int64 [len(categories) + 2]; None and NaN are missing.
    """

    categories: tuple[str, ...]
    counts: np.ndarray
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_codes", {c: i for i, c in enumerate(self.categories)})

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.categories) + 2

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value; bytes, text, numbers or None [n] in, int64 [n] out."""
        codes, other = self._codes, len(self.categories)
        return np.array(
            [
                other + 1 if text is None else codes.get(text, other)
                for text in map(_as_text, values.tolist())
            ],
            dtype=np.int64,
        )


Column = NumericColumn | CategoricalColumn


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """What the columns looked like when the model was right.

    Attributes:
        n: rows of the reference.
        columns: bins and counts by column name.
    """

    n: int
    columns: Mapping[str, Column]

    @classmethod
    def fit(cls, columns: Mapping[str, np.ndarray], max_bins: int = 20) -> ReferenceProfile:
        """Make a profile of reference data.

        Arrays of numbers and booleans become numeric columns, with edges midway between
        neighbouring values at the reference's quantiles; a value that fills a whole bin by
        itself is cut off on both sides, so constant and discrete columns keep their atoms.
        Arrays of text, bytes or objects become categorical columns, in which a category needs
        twenty rows for a bin of its own.

        Args:
            columns: values by column name, each [n] with the same n.
            max_bins: quantile bins of a numeric column (atoms may add to them), and categories
                with a bin of their own. More bins see finer changes and make PSI noisier: with
                no drift at all it is about (bins - 1) * (1 / n_reference + 1 / n_current).

        Raises:
            ValueError: no columns, no rows, unequal lengths, or max_bins < 2.
        """
        lengths = {np.shape(values)[:1] for values in columns.values()}
        if len(lengths) != 1 or lengths <= {(0,), ()}:
            raise ValueError("reference columns must be [n] arrays with the same n > 0")
        if max_bins < 2:
            raise ValueError("max_bins must be at least 2")
        fitted = {name: _fit(np.asarray(values), max_bins) for name, values in columns.items()}
        return cls(n=lengths.pop()[0], columns=fitted)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON-serialisable values."""
        return {"n": self.n, "columns": {k: _to_dict(c) for k, c in self.columns.items()}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ReferenceProfile:
        """Return the profile that `to_dict` was called on."""
        return cls(
            n=int(raw["n"]),
            columns={name: _from_dict(column) for name, column in raw["columns"].items()},
        )


def _as_text(value: object) -> str | None:
    if value is None or value != value:  # NaN is the one value that differs from itself
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fit(values: np.ndarray, max_bins: int) -> Column:
    if values.dtype.kind in "biuf":
        return _fit_numeric(values.astype(np.float64), max_bins)
    return _fit_categorical(values, max_bins)


def _fit_numeric(values: np.ndarray, max_bins: int) -> NumericColumn:
    edges = _quantile_edges(values[np.isfinite(values)], max_bins)
    empty = NumericColumn(edges, np.zeros(len(edges) + 4, dtype=np.int64))
    return NumericColumn(edges, np.bincount(empty.codes(values), minlength=empty.bins))


def _quantile_edges(finite: np.ndarray, max_bins: int) -> np.ndarray:
    if not len(finite):
        return np.empty(0)
    distinct, counts = np.unique(finite, return_counts=True)
    below, above = distinct[:-1], distinct[1:]
    middle = below / 2 + above / 2
    with np.errstate(over="ignore"):  # an edge that overflows is dropped below
        lowest = np.nextafter(distinct[:1], -np.inf)
    # boundary[i] parts distinct[i - 1] from distinct[i]; an edge belongs to the bin below it,
    # so it must stay short of the value above even where no float lies between the two.
    boundary = np.concatenate(
        (
            lowest,
            np.where((middle > below) & (middle < above), middle, below),
            distinct[-1:],
        )
    )
    bins = min(max_bins, max(2, len(finite) // 10))
    ranks = np.arange(1, bins) * len(finite) / bins
    at = np.searchsorted(np.cumsum(counts), ranks)
    atoms = at[counts[at] * bins >= len(finite)]
    chosen = boundary[np.unique(np.concatenate((at + 1, atoms)))]
    edges: np.ndarray = chosen[np.abs(chosen) < _LARGEST]
    return edges


def _fit_categorical(values: np.ndarray, max_bins: int) -> CategoricalColumn:
    seen = Counter(text for text in map(_as_text, values.tolist()) if text is not None)
    ranked = sorted(seen, key=lambda text: (-seen[text], text))
    # A category that was picked for being frequent is less so in new data, which would look like
    # drift. At 5 rows the chi-square test is wrong by half on heavy tails, at 20 hardly at all.
    own = tuple(text for text in ranked[:max_bins] if seen[text] >= _OWN_BIN_ROWS)
    empty = CategoricalColumn(own, np.zeros(len(own) + 2, dtype=np.int64))
    return CategoricalColumn(own, np.bincount(empty.codes(values), minlength=empty.bins))


def _to_dict(column: Column) -> dict[str, Any]:
    if isinstance(column, NumericColumn):
        return {"edges": column.edges.tolist(), "counts": column.counts.tolist()}
    return {"categories": list(column.categories), "counts": column.counts.tolist()}


def _from_dict(raw: Mapping[str, Any]) -> Column:
    counts = np.array(raw["counts"], dtype=np.int64)
    if "edges" in raw:
        return NumericColumn(np.array(raw["edges"], dtype=np.float64), counts)
    return CategoricalColumn(tuple(raw["categories"]), counts)
