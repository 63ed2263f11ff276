"""How much more frequent each row of a reference is among other rows: a classifier's odds."""

from __future__ import annotations

from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

_MOST_ROWS: Final = 5_000
"""Rows of the reference that the classifier learns from."""
_LARGEST: Final = 50.0
"""Weight that a row has at most: beyond, the reference says nothing of these rows."""
_FEWEST: Final = 40
"""Rows on either side that a classifier needs to hold some out."""


def density_ratio(
    reference: np.ndarray, rows: np.ndarray, categorical: np.ndarray, seed: int
) -> np.ndarray:
    """Return p(row) / p(reference) at each row of the reference, float64 [n], with mean 1.

    The classifier stops before it learns what held-out rows do not show, so that without a shift
    weights are close to 1.

    Source: Sugiyama, Suzuki and Kanamori (2012), "Density ratio estimation in machine learning",
    chapter 4; as used by Białek et al. (2024), arXiv:2401.08348.

    Args:
        reference, rows: [n, k] and [m, k]; NaN is missing.
        categorical: which columns are categories, bool [k].
        seed: of the classifier, and of the rows of a large reference.
    """
    if min(len(reference), len(rows)) < _FEWEST or not reference.shape[1]:
        return np.ones(len(reference))
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(reference))[:_MOST_ROWS]
    design = np.concatenate((reference[some], rows))
    side = np.repeat([0, 1], [len(some), len(rows)])
    model = HistGradientBoostingClassifier(
        max_iter=100,
        max_bins=64,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        early_stopping=True,
        n_iter_no_change=5,
        validation_fraction=0.2,
        categorical_features=categorical if categorical.any() else None,
        random_state=seed,
    )
    # Monitors share the machine with what they watch.
    with threadpool_limits(1):
        model.fit(design, side)
        odds = np.exp(np.clip(model.decision_function(reference), -50, 50))
    weights = np.minimum(odds / odds.mean(), _LARGEST)
    normalised: np.ndarray = weights / weights.mean()
    return normalised
