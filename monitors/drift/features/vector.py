"""All statistics of a row as one vector, its sums over a window, and what they were before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.alarms.cell import Cell
from monitors.alarms.reference import ReferenceMoments
from monitors.drift.features.statistics import UNSEEN, statistics
from monitors.reference.pair_sketch import PairSums
from monitors.reference.profile import ReferenceProfile
from monitors.reference.row_codes import RANK_SQUARE, RowCodes
from monitors.reference.time_order import ReferenceCell

CORRELATION: Final = "correlation"


@dataclass(frozen=True, slots=True)
class Stream:
    """One statistic of a row.

    Attributes:
        column: the column that it is of; empty: pairs of several.
        statistic: what moves when it does, in words.
        bucket: of the sketch of pairs.
    """

    column: str
    statistic: str
    bucket: int | None = None


class FeatureVector:
    """The statistics that are watched of rows with a reference's columns.

    Args:
        reference: bins and counts.

    Attributes:
        streams: what is watched, k of them.
        codes: where values are counted.
        paired: whether pairs of columns are among what is watched.
    """

    def __init__(self, reference: ReferenceProfile) -> None:
        self.codes = RowCodes(reference.columns)
        self._reference = reference
        self.paired = reference.pairs is not None and bool(self.codes.sketch.buckets)
        found = [
            (at, each) for at, track in enumerate(self.codes.tracks) for each in statistics(track)
        ]
        of, kept = [at for at, _ in found], [each for _, each in found]
        self.streams = [Stream(self.codes.tracks[at].column, each.name) for at, each in found]
        if self.paired:
            buckets = range(self.codes.sketch.buckets)
            self.streams += [Stream("", CORRELATION, bucket) for bucket in buckets]
        # Sums of a bucket are divided by the root of its size: then all vary alike.
        self._sizes = self.codes.sketch.sizes
        self._share = np.array([each.share for each in kept], np.bool_)
        self._prior = np.array([each.prior for each in kept])
        self._unseen = np.array([each.name == UNSEEN for each in kept], np.bool_)
        starts = self.codes.starts
        self._bins = np.concatenate([each.bins + starts[at] for at, each in found])
        self._values = np.concatenate([each.values for each in kept])
        sizes = [len(each.bins) for each in kept]
        self._starts = np.cumsum([0, *sizes])[:-1]
        self._missing = starts[np.array(of, np.int64) + 1] - 1
        self._of_present = np.array([not each.of_missing for each in kept], np.float64)

    def cell(self, span: tuple[float, float], rows: int, tally: Tally) -> Cell:
        """Return a window's sums.

        Args:
            span: first and last event time.
            rows: in the window.
            tally: what was counted of them.
        """
        return self._cell(span, rows, tally.counts, tally.pairs.sketch)

    def moments(self) -> ReferenceMoments:
        """Return mean and variance of every statistic over the reference, and its order."""
        reference = self._reference
        tracks = self.codes.tracks
        counts = np.concatenate([track.bins.counts for track in tracks])
        pairs = np.zeros((2, 0)) if reference.pairs is None else reference.pairs.sketch
        whole = self._cell((0.0, 0.0), reference.n, counts, pairs)
        n = np.maximum(whole.counts, 1)
        mean = whole.sums / n
        variance = np.maximum(whole.squares / n - mean**2, 0)
        at = np.flatnonzero(self._share)
        prior = self._prior[at]
        mean[at] = (whole.sums[at] + prior) / (whole.counts[at] + 2 * prior)
        variance[at] = mean[at] * (1 - mean[at])
        cells = tuple(self._reference_cell(each) for each in reference.cells)
        return ReferenceMoments(mean=mean, variance=variance, n=whole.counts, cells=cells)

    def _reference_cell(self, cell: ReferenceCell) -> Cell:
        found = self._cell((cell.first, cell.last), cell.n, cell.counts, cell.pairs)
        # Nothing of a reference is unseen in itself: that is no window that could be expected.
        for array in (found.counts, found.sums, found.squares):
            array[: len(self._unseen)][self._unseen] = 0
        return found

    def _cell(
        self, span: tuple[float, float], rows: int, counts: np.ndarray, pairs: np.ndarray
    ) -> Cell:
        weighed = counts[self._bins] * self._values
        sums = np.add.reduceat(weighed, self._starts)
        squares = np.add.reduceat(weighed * self._values, self._starts)
        defined = rows - counts[self._missing] * self._of_present
        if self.paired:
            defined = np.concatenate((defined, np.full(len(self._sizes), float(rows))))
            sums = np.concatenate((sums, pairs[0] / (RANK_SQUARE * np.sqrt(self._sizes))))
            squares = np.concatenate((squares, pairs[1] / (RANK_SQUARE**2 * self._sizes)))
        first, last = span
        return Cell(first=first, last=last, n=rows, counts=defined, sums=sums, squares=squares)


class Tally:
    """What was counted of a window's rows: rows per bin, and how pairs go together.

    All are whole numbers, so that how rows are batched changes nothing.

    Attributes:
        counts: int64 [bins].
        pairs: sums over the rows; none are added where pairs are not watched.
    """

    def __init__(self, codes: RowCodes, *, paired: bool) -> None:
        self._codes, self._paired = codes, paired
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.counts = np.zeros(self._codes.bins, np.int64)
        self.pairs = PairSums(self._codes.sketch)

    def add(self, codes: np.ndarray) -> None:
        """Count rows, whose bins are int64 [tracks, n]."""
        self.counts += np.bincount(codes.ravel(), minlength=len(self.counts))
        if self._paired:
            self.pairs.add(self._codes.ranks(codes))

    def state(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "counts": self.counts.tolist(),
            "pairs": self.pairs.to_dict() if self._paired else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: it is of other columns; then nothing was taken.
        """
        counts, raw = np.array(state["counts"], np.int64), state["pairs"]
        if counts.shape != self.counts.shape or (raw is not None) != self._paired:
            raise ValueError("the counts are of other columns")
        if raw is not None:
            self.pairs = PairSums.from_dict(raw, self._codes.sketch)
        self.counts = counts
