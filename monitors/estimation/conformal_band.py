"""An estimate with a band as wide as its errors were on chunks of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from monitors.estimation.predictions import LabelledPredictions, Predictions

Figures = Callable[[Predictions], Mapping[str, float]]
"""Estimates figures of rows without labels."""
Fit = Callable[[LabelledPredictions], Figures]
"""Learns from labelled rows how to."""
_FOLDS: Final = 10
_MOST_CHUNKS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """A figure of rows without labels.

    Attributes:
        metric: its name.
        value: the estimate; NaN: not defined for these rows.
        low, high: between which the realised value is with the stated coverage, if these rows come
            from the same kind of stream as the reference.
        rows: that it is of.
        coverage: stated, in (0, 1).
    """

    metric: str
    value: float
    low: float
    high: float
    rows: int
    coverage: float


@dataclass(frozen=True, slots=True)
class BandedFigures:
    """Figures whose bands are known.

    Attributes:
        figures: estimates them.
        reach: half width of the band by metric.
        chunk_rows: rows that the bands are of.
        coverage: that they state.
    """

    figures: Figures
    reach: Mapping[str, float]
    chunk_rows: int
    coverage: float

    def estimate(self, rows: Predictions) -> dict[str, Estimated]:
        """Return figures of the rows by metric.

        Raises:
            ValueError: columns or classes differ from those of the reference.
        """
        wider = math.sqrt(max(self.chunk_rows / rows.n, 1.0))
        return {
            name: Estimated(
                metric=name,
                value=value,
                low=value - self.reach[name] * wider,
                high=value + self.reach[name] * wider,
                rows=rows.n,
                coverage=self.coverage,
            )
            for name, value in self.figures(rows).items()
        }


class BandedEstimator:
    """Estimates figures, each with a conformal band.

    The reference is cut into chunks: in the order of its time if it has one, at random if not. Each
    chunk is estimated from the rows of other folds, which are stretches of neighbouring chunks,
    since labels from right before and right after a chunk say more of it than live rows will have.
    The half width is the quantile (1 - alpha) (1 + 1 / chunks) of |estimate - realised|, so the
    band holds for a chunk that is exchangeable with those of the reference. Rows fewer than a chunk
    have a wider band, as if the error were all sampling error; of more rows it is as wide.

    Source: Vovk, Gammerman and Shafer (2005), "Algorithmic learning in a random world", for the
    quantile; cross-fitted as in Barber et al. (2021), arXiv:1905.02928.

    Args:
        reference: labelled rows.
        fit: learns to estimate figures.
        realise: computes them from labels.
        chunk_rows: rows of a chunk, as many as estimates will be of.
        alpha: 1 - the coverage that is stated, in (0, 1).
        seed: of the order of rows without time.

    Raises:
        ValueError: alpha is out of range, or the reference has too few chunks for it.
    """

    def __init__(
        self,
        reference: LabelledPredictions,
        fit: Fit,
        realise: Callable[[LabelledPredictions], Mapping[str, float]],
        *,
        chunk_rows: int,
        alpha: float = 0.1,
        seed: int = 0,
    ) -> None:
        chunks = _chunks(reference, chunk_rows, alpha, seed)
        found = _errors(reference, chunks, fit, realise, seed)
        self.errors: Mapping[str, np.ndarray] = found.same
        """Estimate - realised value of each chunk of the reference, [chunks], by metric."""
        self.apart: Mapping[str, np.ndarray] = found.apart
        """Estimate of some rows - realised value of as many others of the same stretch, [pairs of
        chunks], by metric: how far labels of some rows may be from an estimate of all."""
        self._figures = BandedFigures(
            fit(reference), reaches(found.same, alpha), chunk_rows, 1 - alpha
        )
        self.reach = self._figures.reach
        """Half width of the band by metric."""

    def estimate(self, rows: Predictions) -> dict[str, Estimated]:
        """Return figures of the rows by metric; see `BandedFigures.estimate`."""
        return self._figures.estimate(rows)


def reaches(errors: Mapping[str, np.ndarray], alpha: float) -> dict[str, float]:
    """Return the half width of the band by metric; see `conformal_reach`."""
    return {name: conformal_reach(np.abs(values), alpha) for name, values in errors.items()}


def conformal_reach(errors: np.ndarray, alpha: float) -> float:
    """Return the quantile (1 - alpha) (1 + 1 / n) of errors [n]; NaN among them is left out.

    Infinite where there are too few.
    """
    known = np.sort(errors[~np.isnan(errors)])
    rank = math.ceil((1 - alpha) * (len(known) + 1) - 1e-9)
    return float(known[rank - 1]) if rank <= len(known) else math.inf


def _chunks(
    reference: LabelledPredictions, chunk_rows: int, alpha: float, seed: int
) -> list[np.ndarray]:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}; it must be between 0 and 1")
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}; it must be positive")
    count, least = min(reference.n // chunk_rows, _MOST_CHUNKS), math.ceil(1 / alpha - 1e-9) - 1
    if count < max(least, 2):
        raise ValueError(
            f"chunk_rows is {chunk_rows}, so {reference.n} rows of the reference are "
            f"{count} chunks, and a band at alpha {alpha:g} needs {max(least, 2)}; "
            f"give more rows, shorter chunks or a larger alpha"
        )
    if reference.time is None:
        order = np.random.default_rng(seed).permutation(reference.n)
    else:
        order = np.argsort(reference.time, kind="stable")
    # The latest chunks, which are most like what comes.
    return np.split(order[reference.n - count * chunk_rows :], count)


class _Errors(NamedTuple):
    same: dict[str, np.ndarray]
    apart: dict[str, np.ndarray]


def _errors(
    reference: LabelledPredictions,
    chunks: list[np.ndarray],
    fit: Fit,
    realise: Callable[[LabelledPredictions], Mapping[str, float]],
    seed: int,
) -> _Errors:
    folds = min(len(chunks), _FOLDS)
    same: dict[str, list[float]] = {}
    apart: dict[str, list[float]] = {}
    rng = np.random.default_rng(seed)

    def note(
        into: dict[str, list[float]], figures: Figures, rows: np.ndarray, labelled: np.ndarray
    ) -> None:
        truth = realise(reference.take(labelled))
        for name, value in figures(reference.take(rows).predictions).items():
            into.setdefault(name, []).append(value - truth[name])

    for fold in np.array_split(np.arange(len(chunks)), folds):
        rest = np.ones(reference.n, np.bool_)
        rest[np.concatenate([chunks[at] for at in fold])] = False
        figures = fit(reference.take(rest))
        for at in fold:
            note(same, figures, chunks[at], chunks[at])
        for at in fold[: len(fold) // 2 * 2 : 2]:
            stretch = rng.permutation(np.concatenate((chunks[at], chunks[at + 1])))
            some, others = np.split(stretch, 2)
            note(apart, figures, some, others)
    return _Errors(
        {name: np.array(values) for name, values in same.items()},
        {name: np.array(values) for name, values in apart.items()},
    )
