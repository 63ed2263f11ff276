"""Which pair of columns goes together in another way than before, once a bucket of pairs does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from monitors.drift.features.vector import FeatureVector, Tally
from monitors.reference.profile import ReferenceProfile


class MovedPairs:
    """Compares the rank correlations of a window with those of the reference.

    Args:
        reference: with sums of pairs.
        features: made of it.

    Raises:
        ValueError: it has no sums of pairs.
    """

    def __init__(self, reference: ReferenceProfile, features: FeatureVector) -> None:
        if reference.pairs is None:
            raise ValueError("the reference has no sums of pairs")
        self._codes = features.codes
        counts = np.concatenate([track.bins.counts for track in self._codes.tracks])
        sums = self._codes.rank_sums(counts)
        self._reference = correlations(reference.pairs.products, sums, reference.n)
        self._names = [self._codes.tracks[at].column for at in self._codes.paired]

    def named(self, buckets: Iterable[int | None], tally: Tally, rows: int) -> list[dict[str, Any]]:
        """Return for each bucket the pair whose correlation has moved most, as JSON values.

        Args:
            buckets: of the sketch of pairs.
            tally: what was counted of a window.
            rows: of the window.
        """
        sketch = self._codes.sketch
        current = correlations(tally.pairs.products, self._codes.rank_sums(tally.counts), rows)
        first, second = sketch.pairs
        moved = np.abs(current - self._reference)[first, second]
        found = []
        for bucket in buckets:
            at = int(np.where(sketch.bucket == bucket, moved, -1.0).argmax())
            pair = first[at], second[at]
            found.append(
                {
                    "columns": [self._names[pair[0]], self._names[pair[1]]],
                    "reference": round(float(self._reference[pair]), 4),
                    "current": round(float(current[pair]), 4),
                }
            )
        return found


def correlations(products: np.ndarray, sums: np.ndarray, rows: int) -> np.ndarray:
    """Return correlations, float64 [d, d]; 0 with what does not vary.

    Args:
        products: sums over rows of the products of each two, [d, d].
        sums: over rows of each, [d].
        rows: how many.
    """
    n = max(rows, 1)
    covariance = products / n - np.outer(sums, sums) / n**2
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    unit = np.outer(sd, sd)
    found: np.ndarray = np.where(unit > 0, covariance / np.where(unit > 0, unit, 1.0), 0.0)
    return found
