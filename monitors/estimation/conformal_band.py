"""An estimate with a band as wide as its errors were on chunks of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

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
        self._alpha, self._chunk_rows = alpha, chunk_rows
        found = _errors(reference, chunks, fit, realise)
        self.errors: Mapping[str, np.ndarray] = found
        """Estimate - realised value of each chunk of the reference, [chunks], by metric."""
        self.reach = {
            name: conformal_reach(np.abs(values), alpha) for name, values in found.items()
        }
        """Half width of the band by metric."""
        self._figures = fit(reference)

    def estimate(self, rows: Predictions) -> dict[str, Estimated]:
        """Return figures of the rows by metric.

        Raises:
            ValueError: columns or classes differ from those of the reference.
        """
        wider = math.sqrt(max(self._chunk_rows / rows.n, 1.0))
        return {
            name: Estimated(
                metric=name,
                value=value,
                low=value - self.reach[name] * wider,
                high=value + self.reach[name] * wider,
                rows=rows.n,
                coverage=1 - self._alpha,
            )
            for name, value in self._figures(rows).items()
        }


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


def _errors(
    reference: LabelledPredictions,
    chunks: list[np.ndarray],
    fit: Fit,
    realise: Callable[[LabelledPredictions], Mapping[str, float]],
) -> dict[str, np.ndarray]:
    folds = min(len(chunks), _FOLDS)
    found: dict[str, list[float]] = {}
    for fold in np.array_split(np.arange(len(chunks)), folds):
        rest = np.ones(reference.n, np.bool_)
        rest[np.concatenate([chunks[at] for at in fold])] = False
        figures = fit(reference.take(rest))
        for at in fold:
            chunk = reference.take(chunks[at])
            truth = realise(chunk)
            for name, value in figures(chunk.predictions).items():
                found.setdefault(name, []).append(value - truth[name])
    return {name: np.array(values) for name, values in found.items()}
