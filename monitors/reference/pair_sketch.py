"""How all pairs of columns go together, in a few numbers per row.

The products of all pairs would be hundreds of statistics. Each pair is put in one of a few buckets,
with a sign, by a fixed hash: the signed sum over a bucket's pairs moves when one of them does, and
independent pairs cannot make it larger than by chance. This is the count sketch of Charikar, Chen
and Farach-Colton (2002), "Finding frequent items in data streams", ICALP.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

MOST_BUCKETS: Final = 16

_ROWS_AT_ONCE: Final = 256
"""Rows whose products of all pairs stay in a processor's cache."""

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class PairSketch:
    """The buckets of all pairs of some columns; with few columns, a bucket per pair.

    Args:
        columns: how many, d.

    Attributes:
        pairs: first and second column of each pair, int64 [2, pairs], bucket by bucket.
        bucket: of each pair, int64 [pairs].
        sizes: pairs of each bucket, int64 [buckets].
    """

    def __init__(self, columns: int) -> None:
        first, second = np.triu_indices(columns, 1)
        number = len(first)
        buckets = min(MOST_BUCKETS, number)
        hashed = _hashed(number)
        few = number <= MOST_BUCKETS
        order = np.arange(number) if few else np.argsort(hashed, kind="stable")
        # Buckets of the same size, but for one pair: as many neighbours for each pair.
        parts = np.array_split(order, buckets) if buckets else []
        self.sizes = np.array([len(part) for part in parts], np.int64)
        self.bucket = np.repeat(np.arange(buckets), self.sizes)
        self.pairs = np.stack([first[order], second[order]])
        negative = np.zeros(number, np.bool_) if few else hashed[order] % 2 == 1
        # A pair of each bucket, then the next of each: sums over buckets are sums of long rows. Of
        # columns, of the same columns with the other sign behind them, and of nothing behind these.
        width = int(self.sizes.max(initial=0))
        at = np.arange(number) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        self._first = np.zeros((width, buckets), np.int64)
        self._second = np.full((width, buckets), 2 * columns)
        self._first[at, self.bucket] = self.pairs[0]
        self._second[at, self.bucket] = self.pairs[1] + columns * negative
        self.columns = columns

    @property
    def buckets(self) -> int:
        """How many numbers a row has."""
        return len(self.sizes)

    def rows(self, ranks: np.ndarray) -> np.ndarray:
        """Return the signed sums of products, float32 [buckets, rows]: whole numbers, exact.

        Args:
            ranks: whole numbers from -64 to 64, float32 [columns, rows].
        """
        n = ranks.shape[1]
        if not self.buckets:
            return np.zeros((0, n), np.float32)
        signed = np.concatenate((ranks, -ranks, np.zeros((1, n), np.float32)))
        products = ranks.take(self._first.ravel(), axis=0)
        products *= signed.take(self._second.ravel(), axis=0)
        sums: np.ndarray = products.reshape(len(self._first), -1).sum(axis=0)
        return sums.reshape(self.buckets, n)


class PairSums:
    """Sums over rows, all of whole numbers, so that how rows are batched changes nothing.

    Attributes:
        products: of each two columns' ranks, float64 [columns, columns].
        sketch: of the sketch's numbers and of their squares, float64 [2, buckets].
    """

    def __init__(self, sketch: PairSketch) -> None:
        self._sketch = sketch
        self.products = np.zeros((sketch.columns, sketch.columns))
        self.sketch = np.zeros((2, sketch.buckets))

    def add(self, ranks: np.ndarray) -> None:
        """Count rows, whose ranks are float32 [columns, rows]."""
        for start in range(0, ranks.shape[1], _ROWS_AT_ONCE):
            part = ranks[:, start : start + _ROWS_AT_ONCE]
            sums = self._sketch.rows(part).astype(np.float64)
            self.sketch[0] += sums.sum(axis=1)
            self.sketch[1] += np.einsum("br,br->b", sums, sums)
        wide = ranks.astype(np.float64)
        self.products += wide @ wide.T

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        upper = np.triu_indices(len(self.products))
        return {
            "products": self.products[upper].astype(np.int64).tolist(),
            "sketch": self.sketch.astype(np.int64).tolist(),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any], sketch: PairSketch) -> PairSums:
        """Return the sums that `to_dict` was called on.

        Raises:
            ValueError, KeyError, TypeError: they are of other columns.
        """
        found = cls(sketch)
        upper = np.triu_indices(sketch.columns)
        products = np.array(raw["products"], np.float64)
        sums = np.array(raw["sketch"], np.float64).reshape(2, -1)
        if products.shape != upper[0].shape or sums.shape != found.sketch.shape:
            raise ValueError("the sums of pairs are not of these columns")
        found.products[upper] = products
        found.products.T[upper] = products
        found.sketch = sums
        return found


def _hashed(number: int) -> np.ndarray:
    """Return a fixed hash of 0, 1, ... as uint64 [number]: the finaliser of SplitMix64."""
    with np.errstate(over="ignore"):
        mixed = (np.arange(number, dtype=np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX[0])
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX[1])
        hashed: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return hashed
