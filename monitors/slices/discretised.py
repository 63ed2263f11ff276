"""Columns as codes of few values, and the conditions on them that slices are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.coarse_columns import Coarse, coarse_column, plain
from monitors.reference.numeric_column import LARGEST, NumericColumn

MOST_BINS: Final = 10


class Condition(NamedTuple):
    """That a column has one of neighbouring codes.

    Attributes:
        feature: index of the column.
        first, last: codes among those of all columns; both belong to it.
    """

    feature: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Discretised:
    """Columns of n rows as codes; those of a column follow on those of the column before.

    Attributes:
        names: of the columns.
        codes: int32 [n, k].
        size: how many codes there are.
        conditions: that a slice may have, in the order of the columns: each code by itself, and of
            numbers all values up to a bin, or from a bin on.
        words: of each condition.
    """

    names: list[str]
    codes: np.ndarray
    size: int
    conditions: list[Condition]
    words: dict[Condition, str]

    def holds(self, conditions: tuple[Condition, ...]) -> np.ndarray:
        """Return which rows meet all conditions, bool [n]."""
        found = np.ones(len(self.codes), np.bool_)
        for feature, first, last in conditions:
            codes = self.codes[:, feature]
            found &= (codes >= first) & (codes <= last)
        return found


def discretised(columns: Mapping[str, np.ndarray]) -> Discretised:
    """Cut numbers into at most ten quantile bins, with values that fill a bin by themselves apart.

    Categories are the ten most frequent of at least twenty rows, all others together, and missing
    ones. Infinite numbers have bins of their own.

    Args:
        columns: by name, [n] each: numbers (NaN is missing), text, bytes or objects (None is).

    Raises:
        ValueError: there are no columns, or one is no list of n > 0 values.
    """
    rows = _rows(columns)
    codes = np.empty((rows, len(columns)), np.int32)
    conditions: list[Condition] = []
    words: dict[Condition, str] = {}
    size = 0
    for at, (name, values) in enumerate(columns.items()):
        column, given = coarse_column(values, MOST_BINS), plain(values)
        used, place = np.unique(column.codes(given), return_inverse=True)
        codes[:, at] = place + size
        for first, last in _ranges(column, used):
            condition = Condition(at, size + first, size + last)
            conditions.append(condition)
            words[condition] = _words(name, column, given, int(used[first]), int(used[last]))
        size += len(used)
    return Discretised(list(columns), codes, size, conditions, words)


def _rows(columns: Mapping[str, np.ndarray]) -> int:
    if not columns:
        raise ValueError("columns are empty; slices need at least one column")
    rows = len(next(iter(columns.values())))
    for name, values in columns.items():
        if values.ndim != 1 or len(values) != rows or not rows:
            raise ValueError(
                f"column {name} has shape {list(values.shape)}; it must be [n] with the same "
                f"n > 0 as the others"
            )
    return rows


def _ranges(column: Coarse, used: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last position among the codes that are used, of each condition."""
    if len(used) < 2:
        return []
    found = [(at, at) for at in range(len(used))]
    if isinstance(column, NumericColumn):
        numbers = len(used) - int(used[-1] == column.bins - 1)
        found += [(0, at) for at in range(1, numbers - 1)]
        found += [(at, numbers - 1) for at in range(1, numbers - 1)]
    return found


def _words(name: str, column: Coarse, values: np.ndarray, first: int, last: int) -> str:
    if first == column.bins - 1:
        return f"{name} is missing"
    if isinstance(column, CategoricalColumn):
        if first == len(column.categories):
            return f"{name} is another value"
        return f"{name} = {column.categories[first]}"
    finite = values[np.isfinite(values)]
    whole = bool(len(finite)) and bool((finite == np.round(finite)).all())
    # A bin holds values above the edge before it, up to its own edge.
    outer = [-math.inf, *column.edges.tolist(), LARGEST, math.inf]
    low = outer[first - 1] if first else -math.inf
    high = outer[last] if last < len(outer) else math.inf
    return _whole(name, finite, low, high) if whole else _interval(name, finite, low, high)


def _whole(name: str, finite: np.ndarray, low: float, high: float) -> str:
    inside = finite[(finite > low) & (finite <= high)]
    if not len(inside):
        return f"{name} = {'-inf' if high < 0 else 'inf'}"
    least, most = inside.min(), inside.max()
    if least == most:
        return f"{name} = {least:g}"
    if least == finite.min():
        return f"{name} < {most + 1:g}" if (finite > most).any() else f"{name} >= {least:g}"
    if most == finite.max():
        return f"{name} >= {least:g}"
    return f"{least:g} <= {name} <= {most:g}"


def _interval(name: str, finite: np.ndarray, low: float, high: float) -> str:
    inside = finite[(finite > low) & (finite <= high)]
    if not len(inside):
        return f"{name} = {'-inf' if high < 0 else 'inf'}"
    if inside.min() == inside.max():
        return f"{name} = {inside[0]:.6g}"
    if not (finite <= low).any():
        return f"{name} <= {high:.4g}"
    if not (finite > high).any():
        return f"{name} > {low:.4g}"
    return f"{low:.4g} < {name} <= {high:.4g}"
