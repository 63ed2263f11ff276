"""Bins of a numeric column: quantiles, tails, and what lies beyond all that the reference had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

LARGEST: Final = float(np.finfo(np.float64).max)
RANK_STEPS: Final = 64
"""Mid-ranks are whole numbers from -64 to 64: sums of their products are exact, in any order."""

_MANY_ROWS: Final = 256
_FEW_EDGES: Final = 64
_TAIL_SHARE: Final = 0.005
_TAIL_ROWS: Final = 10
_ROWS_WITH_TAILS: Final = 200


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Bins of one numeric column: -inf | (-inf, e0] | (e0, e1] | ... | (ek, inf) | +inf | NaN.

    Attributes:
        edges: inner edges, float64 [k], increasing and finite.
        counts: reference rows per bin, int64 [k + 4].
    """

    edges: np.ndarray
    counts: np.ndarray
    _outer: np.ndarray = field(init=False, repr=False, compare=False)
    _outer32: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        outer = np.concatenate(([-np.inf], self.edges, [LARGEST, np.inf]))
        object.__setattr__(self, "_outer", outer)
        # The same for float32, which need not be widened.
        object.__setattr__(self, "_outer32", _rounded_down(outer))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self._outer) + 1

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value; numeric [n] in, int64 [n] out."""
        search = self._outer32 if values.dtype == np.float32 else self._outer
        if len(values) < _MANY_ROWS or len(search) > _FEW_EDGES:
            # NaN sorts behind +inf, which is exactly where its bin is.
            return search.searchsorted(values)
        # A binary search guesses wrong at every step. To compare with all of a few edges is
        # quicker, and what is not below an edge, as NaN, is counted alike.
        below = (search[:, None] >= values).view(np.uint8)
        codes: np.ndarray = len(search) - np.add.reduce(below, axis=0, dtype=np.uint8)
        return codes.astype(np.int64)

    def midranks(self) -> np.ndarray:
        """Return where each bin lies in the reference, float64 [bins] in [0, 1]; NaN of missing.

        It is the share of reference values below the bin and half of those in it.
        """
        counts = self.counts[:-1]
        present = int(counts.sum())
        if not present:
            return np.full(self.bins, np.nan)
        ranks = (np.cumsum(counts) - counts / 2) / present
        return np.append(ranks, np.nan)

    def centred_ranks(self) -> np.ndarray:
        """Return the mid-ranks as whole numbers, float64 [bins] in [-64, 64]; 0 of missing."""
        steps = np.round((self.midranks() - 0.5) * 2 * RANK_STEPS)
        return np.where(np.isnan(steps), 0.0, steps)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"edges": self.edges.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> NumericColumn:
        """Return the column that `to_dict` was called on."""
        counts = np.array(raw["counts"], dtype=np.int64)
        return cls(np.array(raw["edges"], dtype=np.float64), counts)


def _rounded_down(edges: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each edge: the same float32 lie above both."""
    with np.errstate(over="ignore"):
        rounded = edges.astype(np.float32)
    above = rounded > edges
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def fit_numeric(values: np.ndarray, max_bins: int) -> NumericColumn:
    """Return bins at the quantiles of values, float64 [n], and how many fall in each."""
    return fit_bins(values, quantile_edges(values[np.isfinite(values)], max_bins))


def fit_bins(values: np.ndarray, edges: np.ndarray) -> NumericColumn:
    """Return bins with given inner edges, and how many of values, float64 [n], fall in each."""
    empty = NumericColumn(edges, np.zeros(len(edges) + 4, dtype=np.int64))
    return NumericColumn(edges, np.bincount(empty.codes(values), minlength=empty.bins))


def tail_share(rows: int) -> float:
    """Return the share of reference values beyond each tail's edge; 0: too few rows for tails.

    Half a percent, but at least ten rows: a reference says little of what is rarer in it.
    """
    return max(_TAIL_SHARE, _TAIL_ROWS / rows) if rows >= _ROWS_WITH_TAILS else 0.0


def quantile_edges(finite: np.ndarray, max_bins: int, *, tails: bool = True) -> np.ndarray:
    """Return inner edges at the quantiles of finite values, float64 [k].

    Args:
        finite: float64 [n].
        max_bins: most bins between the quantiles; values that fill one have it for themselves.
        tails: whether rare ends, and what lies beyond all values, have bins too.
    """
    if not len(finite):
        return np.empty(0)
    distinct, counts = np.unique(finite, return_counts=True)
    boundary = _boundaries(distinct)
    bins = min(max_bins, max(2, len(finite) // 10))
    tail = tail_share(len(finite)) if tails else 0.0
    shares = np.append(np.arange(1, bins) / bins, [tail, 1 - tail] if tail else [])
    # To the nearest row: 1 - tail is no exact number, and would leave a row more or less.
    ranks = np.round(shares * len(finite), 6)
    at = np.searchsorted(np.cumsum(counts), ranks)
    atoms = at[counts[at] * bins >= len(finite)]
    ends = [0, len(distinct)] if tails else []  # beyond them lies what the values never had
    chosen = boundary[np.unique(np.concatenate((at + 1, atoms, ends)).astype(np.int64))]
    edges: np.ndarray = chosen[np.abs(chosen) < LARGEST]
    return edges


def _boundaries(distinct: np.ndarray) -> np.ndarray:
    """Return edges around distinct values [d], float64 [d + 1]: entry i parts d[i - 1] from d[i].

    An edge belongs to the bin below it, so it must stay short of the value above even where no
    float lies between the two.
    """
    below, above = distinct[:-1], distinct[1:]
    middle = below / 2 + above / 2
    with np.errstate(over="ignore"):  # an edge that overflows is dropped later
        lowest = np.nextafter(distinct[:1], -np.inf)
    between = np.where((middle > below) & (middle < above), middle, below)
    return np.concatenate((lowest, between, distinct[-1:]))
