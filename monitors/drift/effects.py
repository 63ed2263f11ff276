"""How large a change of a column is, in the figures that people know: PSI and the KS gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from monitors.drift.features.statistics import MOST_VALUES
from monitors.reference.categorical_column import CategoricalColumn
from monitors.reference.numeric_column import NumericColumn
from monitors.reference.row_codes import Track
from monitors.statistics.population_stability_index import debiased_population_stability_index

LEAST_ROWS: Final = 20
"""Reference rows of a bin that counts by itself in PSI, whose logarithm makes much of few rows."""


class Effects(NamedTuple):
    """How far a window is from the reference, for each track; float64 [tracks].

    Attributes:
        psi: population stability index without what chance adds; NaN where there is none.
        reach: half the width of its 95 % interval.
        ks: largest gap between the distribution functions; NaN of categories.
    """

    psi: np.ndarray
    reach: np.ndarray
    ks: np.ndarray


class EffectSizes:
    """Computes the effects on all tracks at once.

    Tails have statistics of their own. In PSI they are counted with their neighbours.

    Args:
        tracks: the tracks, with the reference's counts.
    """

    def __init__(self, tracks: Sequence[Track]) -> None:
        coarse = [coarse_bins(track.bins) for track in tracks]
        self._coarse = _Table(coarse)
        # Of numbers in order, without the missing ones at the end.
        self._ordered = np.array([isinstance(track.bins, NumericColumn) for track in tracks])
        fine = [np.arange(track.bins.bins) for track in tracks]
        self._fine = _Table(fine)
        self._missing = np.cumsum([track.bins.bins for track in tracks], dtype=np.int64) - 1
        reference = np.concatenate([track.bins.counts for track in tracks])
        self._reference = self._coarse.rows(reference)
        self._below = self._distribution(reference)

    def of(self, current: np.ndarray, factor: np.ndarray) -> Effects:
        """Return the effects.

        Args:
            current: rows per bin of a window, int64 [bins of all tracks].
            factor: how many times its counts vary as those of independent rows do, [tracks].
        """
        window = self._coarse.rows(current)
        psi, reach = debiased_population_stability_index(self._reference, window, factor)
        gaps = np.abs(self._distribution(current) - self._below).max(axis=1)
        return Effects(psi, reach, np.where(self._ordered, gaps, np.nan))

    def _distribution(self, counts: np.ndarray) -> np.ndarray:
        """Return the distribution function at the bins' ends, float64 [tracks, most bins]."""
        present = counts.copy()
        present[self._missing] = 0
        below = np.cumsum(self._fine.rows(present), axis=1)
        with np.errstate(invalid="ignore"):
            shares: np.ndarray = below / below[:, -1:]
        return shares


class _Table:
    """Puts flat counts of many tracks in a table with a row for each.

    Args:
        columns: for each track, the column of the table of each of its bins.
    """

    def __init__(self, columns: Sequence[np.ndarray]) -> None:
        self._width = max(int(each.max()) for each in columns) + 1
        self._number = len(columns)
        self._at = np.concatenate([each + at * self._width for at, each in enumerate(columns)])

    def rows(self, counts: np.ndarray) -> np.ndarray:
        size = self._number * self._width
        table = np.bincount(self._at, weights=counts, minlength=size)
        return table.reshape(self._number, self._width)


def coarse_bins(bins: NumericColumn | CategoricalColumn) -> np.ndarray:
    """Return for each bin the number of the one that it is counted in for PSI, int64 [bins].

    Bins of finite values with few reference rows go with the next one inward, unless the column
    has few values at all; infinite and missing values stay by themselves. Categories with few rows
    go together.
    """
    full = bins.counts >= LEAST_ROWS
    if isinstance(bins, CategoricalColumn):
        full[-1] = False
        number = np.where(full, np.cumsum(full) - 1, full.sum())
        number[-1] = full.sum() + 1
        return number
    finite = full[1:-2]
    if int((bins.counts[1:-2] > 0).sum()) <= MOST_VALUES:
        return np.arange(bins.bins)
    if not finite.any():
        finite = bins.counts[1:-2] == bins.counts[1:-2].max(initial=0)
    # As many full bins before it, but not fewer than one: the first ones go with what follows.
    inner = np.maximum(np.cumsum(finite), 1) if len(finite) else np.empty(0, np.int64)
    last = int(inner[-1]) if len(inner) else 0
    return np.concatenate(([0], inner, [last + 1, last + 2])).astype(np.int64)
