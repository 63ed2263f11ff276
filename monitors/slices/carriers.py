"""Which features carry a change of the loss, each looked at by itself in bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from monitors.reference.coarse_columns import coarse_column, plain

_BINS: Final = 10


def carriers(
    cause: str,
    reference: Mapping[str, np.ndarray],
    reference_losses: np.ndarray,
    now: Mapping[str, np.ndarray],
    losses: np.ndarray,
    seen: np.ndarray,
) -> list[tuple[str, float]]:
    """Return features with their weight, the heaviest first; weights sum to one, or are all 0.

    For a covariate shift a feature weighs what its bins that became more frequent add to the loss.
    For a concept shift, how much the change of the loss differs between its bins, beyond chance.
    For an unseen region, how far the rows in it are from the reference by this feature (chi-square
    distance of the bins). Features that depend on each other share a cause among them.

    Args:
        cause: one of `monitors.slices.causes.CAUSES`.
        reference, now: features by name, [n] and [m].
        reference_losses, losses: of the rows, [n] and [m].
        seen: which rows of now have their like in the reference, bool [m].
    """
    weights = {}
    for name, values in reference.items():
        column = coarse_column(values, _BINS)
        before, after = (column.codes(plain(side[name])) for side in (reference, now))
        bins = column.bins
        if cause == "covariate shift":
            weights[name] = _moved(before, after[seen], reference_losses, bins)
        elif cause == "concept shift":
            weights[name] = _uneven(before, after[seen], reference_losses, losses[seen], bins)
        else:
            weights[name] = _distance(before, after[~seen], bins)
    total = sum(weights.values())
    shares = {name: weight / total if total > 0 else 0.0 for name, weight in weights.items()}
    return sorted(shares.items(), key=lambda item: -item[1])


def _moved(before: np.ndarray, after: np.ndarray, losses: np.ndarray, bins: int) -> float:
    p, q = _shares(before, bins), _shares(after, bins)
    counts = np.bincount(before, minlength=bins)
    mean = np.bincount(before, losses, bins) / np.maximum(counts, 1)
    mean = np.where(counts > 0, mean, losses.mean())
    return abs(float(((q - p) * mean).sum()))


def _uneven(
    before: np.ndarray, after: np.ndarray, losses: np.ndarray, later: np.ndarray, bins: int
) -> float:
    n, m = (np.bincount(codes, minlength=bins) for codes in (before, after))
    there = (n >= 5) & (m >= 5)
    if there.sum() < 2:
        return 0.0
    change = (np.bincount(after, later, bins)[there] / m[there]) - (
        np.bincount(before, losses, bins)[there] / n[there]
    )
    noise = later.var() / m[there] + losses.var() / n[there]
    share = m[there] / m[there].sum()
    spread = float((share * (change - (share * change).sum()) ** 2).sum())
    return max(spread - float((share * (1 - share) * noise).sum()), 0.0)


def _distance(before: np.ndarray, after: np.ndarray, bins: int) -> float:
    p, q = _shares(before, bins), _shares(after, bins)
    both = p + q
    return float(((p - q) ** 2 / np.where(both > 0, both, 1)).sum())


def _shares(codes: np.ndarray, bins: int) -> np.ndarray:
    found: np.ndarray = np.bincount(codes, minlength=bins) / max(len(codes), 1)
    return found
