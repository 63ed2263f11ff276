"""What makes a slice bad: its mean error, or the gap between two groups in it."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

SUPPORT: Final = 32
"""Rows that a slice has at least, and each group of it where groups are compared."""
SUPPORT_SHARE: Final = 0.01
"""Share of the rows that a slice has at least."""
LEAST_GAP: Final = 0.05
"""Gaps of groups are compared with that of all rows, or with this if that is smaller."""


class Objective(Protocol):
    """Scores slices by sums over their rows.

    Attributes:
        values: what is summed up, float64 [n, s].
    """

    values: np.ndarray

    def score(self, rows: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Return scores [m] of slices with so many rows [m] and sums [s, m]; -inf: too small."""

    def bound(self, rows: np.ndarray, sums: np.ndarray, largest: float) -> np.ndarray:
        """Return what no part of a slice can score more than, [m]; the arguments of `score`.

        Args:
            largest: value of the first column that no row of the slices exceeds.
        """


class ErrorObjective:
    """SliceLine's score: a mean error above the average, less what a small slice costs.

    Source: Sagadeeva and Boehm (2021), "SliceLine: fast, linear-algebra-based slice finding for ML
    model debugging", SIGMOD; equation 5 for the score, section 3.2 for the bound.

    Args:
        errors: of the rows, not negative, with a positive mean, [n].
        alpha: weight of the error against that of the size, in (0, 1].
    """

    def __init__(self, errors: np.ndarray, alpha: float) -> None:
        self.values = errors[:, None].astype(np.float64)
        self._n, self._alpha = len(errors), alpha
        self._average = float(errors.mean())
        self._least = max(SUPPORT, int(np.ceil(SUPPORT_SHARE * len(errors))))

    def score(self, rows: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """See `Objective`."""
        found = self._score(np.maximum(rows, 1), sums[0])
        return np.where(rows >= self._least, found, -np.inf)

    def bound(self, rows: np.ndarray, sums: np.ndarray, largest: float) -> np.ndarray:
        """See `Objective`."""
        # The score of the best part of each size rises up to the size that can hold all of the
        # error, and is monotone from there on: the best size is one of three.
        turn = sums[0] / max(largest, 1e-300)
        best = np.full(len(rows), -np.inf)
        for size in (np.full(len(rows), self._least), np.clip(turn, self._least, rows), rows):
            size = np.maximum(size, 1)
            best = np.maximum(best, self._score(size, np.minimum(sums[0], size * largest)))
        return np.where(rows >= self._least, best, -np.inf)

    def _score(self, rows: np.ndarray, errors: np.ndarray) -> np.ndarray:
        lift = errors / rows / self._average
        found: np.ndarray = self._alpha * (lift - 1) - (1 - self._alpha) * (self._n / rows - 1)
        return found


class DisparityObjective:
    """SliceLine's score of the gap between the rates of two groups.

    Each group of a slice has at least `SUPPORT` rows.

    Args:
        outcomes: 0 or 1, [n].
        members: which rows are of the group that is compared with the others, bool [n].
        alpha: as for errors.
    """

    def __init__(self, outcomes: np.ndarray, members: np.ndarray, alpha: float) -> None:
        hits = outcomes.astype(np.float64)
        self.values = np.column_stack((members, members * hits, ~members * hits)).astype(np.float64)
        self._n, self._alpha = len(outcomes), alpha
        self._usual = max(abs(gap_of(hits, members)), LEAST_GAP)
        self._least = max(SUPPORT, int(np.ceil(SUPPORT_SHARE * len(outcomes))))

    def score(self, rows: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """See `Objective`."""
        own, own_hits, other_hits = sums
        others = rows - own
        gap = np.abs(own_hits / np.maximum(own, 1) - other_hits / np.maximum(others, 1))
        return np.where(self._enough(rows, own), self._score(rows, gap), -np.inf)

    def bound(self, rows: np.ndarray, sums: np.ndarray, largest: float) -> np.ndarray:
        """See `Objective`."""
        own, own_hits, other_hits = sums
        others = rows - own
        high, low = _extremes(own, own_hits)
        other_high, other_low = _extremes(others, other_hits)
        gap = np.maximum(high - other_low, other_high - low)
        return np.where(self._enough(rows, own), self._score(rows, gap), -np.inf)

    def _enough(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        found: np.ndarray = (
            (rows >= self._least) & (own >= SUPPORT) & (rows - own >= SUPPORT)
        )  # fmt: skip
        return found

    def _score(self, rows: np.ndarray, gap: np.ndarray) -> np.ndarray:
        size = self._n / np.maximum(rows, 1) - 1
        found: np.ndarray = self._alpha * (gap / self._usual - 1) - (1 - self._alpha) * size
        return found


def gap_of(outcomes: np.ndarray, members: np.ndarray) -> float:
    """Return the rate of members less that of the others; neither is empty."""
    return float(outcomes[members].mean() - outcomes[~members].mean())


def _extremes(rows: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest and the lowest rate that a part with `SUPPORT` rows can have."""
    return np.minimum(hits / SUPPORT, 1.0), np.maximum(1 - (rows - hits) / SUPPORT, 0.0)
