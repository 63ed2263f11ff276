"""Synthetic loan applicants with a disparity of known size between the sexes.

No row is about a person. Every applicant has five amounts and two categories, drawn
independently of each other:

- `income`: log-normal, median 40,000; `loan_amount`: log-normal, median 12,000;
- `term_months`: 12, 24, 36, 48 or 60;
- `credit_history_years`: 50 * sigmoid(N(-1.2, 0.9));
- `debt_ratio`: sigmoid(N(-0.9, 0.6));
- `purpose` and `home_ownership`: one of four, one of three;
- `sex`: F or M with equal odds, independent of everything but the credit history.

An underwriter approves whoever has a positive score; the score is linear in what the normal
draws are (standardised), plus a term per category. The proxy: the credit histories of women
are shortened by a constant before the sigmoid, just so much that the share of approved women
is `disparity` lower than that of approved men. Given the discrete columns the score is normal,
so both shares are exact sums over the 60 combinations, not estimates. The label `y_true` is
the underwriter's decision, except that a random 3 % are reversed, so the gap in the labels is
0.94 * `disparity`.

With `disparity=0` nothing depends on the sex. A model of these rows does not see the sex; it
inherits the gap through the proxy.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Final

import numpy as np

from serving.models.profile.dataset import Dataset

DISPARITY: Final = 0.12
LABEL_NOISE: Final = 0.03
CLASSES: Final = ("rejected", "approved")

# Categories with their odds and what they add to the score.
TERMS: Final = (
    (12, 0.15, 0.3),
    (24, 0.2, 0.15),
    (36, 0.3, 0.0),
    (48, 0.15, -0.15),
    (60, 0.2, -0.3),
)
PURPOSES: Final = (
    ("car", 0.4, 0.1),
    ("education", 0.15, 0.0),
    ("home", 0.3, 0.2),
    ("business", 0.15, -0.4),
)
OWNERSHIPS: Final = (("rent", 0.45, -0.2), ("mortgage", 0.35, 0.1), ("own", 0.2, 0.3))

# Weights of the standardised draws: income, loan amount, credit history, debt ratio.
WEIGHTS: Final = (1.0, -0.8, 0.9, -0.8)
HISTORY: Final = 2
BIAS: Final = 0.4


def sample_applicants(n: int, seed: int, disparity: float = DISPARITY) -> Dataset:
    """Draw n applicants.

    Args:
        n: rows.
        seed: the same seed and arguments give the same rows.
        disparity: share of approved men minus share of approved women in the population.

    Returns:
        Inputs `numeric` float32 [n, 5] and `categorical` [n, 2] (bytes), `y_true` (class names)
        and the sensitive attribute `sex`.
    """
    draw = np.random.default_rng(seed)
    female = draw.random(n) < 0.5
    normal = draw.standard_normal((n, len(WEIGHTS)))
    normal[:, HISTORY] -= proxy_shift(disparity) * female
    term = draw.choice(len(TERMS), n, p=[odds for _, odds, _ in TERMS])
    purpose = draw.choice(len(PURPOSES), n, p=[odds for _, odds, _ in PURPOSES])
    ownership = draw.choice(len(OWNERSHIPS), n, p=[odds for _, odds, _ in OWNERSHIPS])
    score = BIAS + normal @ np.array(WEIGHTS)
    for kinds, chosen in ((TERMS, term), (PURPOSES, purpose), (OWNERSHIPS, ownership)):
        score += np.array([effect for _, _, effect in kinds])[chosen]
    approved = (score > 0) ^ (draw.random(n) < LABEL_NOISE)
    categorical = np.empty((n, 2), dtype=object)
    categorical[:, 0] = [PURPOSES[code][0].encode() for code in purpose]
    categorical[:, 1] = [OWNERSHIPS[code][0].encode() for code in ownership]
    return Dataset(
        {"numeric": _amounts(normal, term), "categorical": categorical},
        np.array(CLASSES, dtype=object)[approved.astype(int)],
        {"sex": np.where(female, "F", "M").astype(object)},
    )


def _amounts(normal: np.ndarray, term: np.ndarray) -> np.ndarray:
    columns = (
        40_000 * np.exp(0.5 * normal[:, 0]),
        12_000 * np.exp(0.6 * normal[:, 1]),
        np.array([months for months, _, _ in TERMS])[term],
        50 / (1 + np.exp(1.2 - 0.9 * normal[:, HISTORY])),
        1 / (1 + np.exp(0.9 - 0.6 * normal[:, 3])),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def approval_rate(shift: float) -> float:
    """Return the exact share of approved applicants whose credit history is shifted.

    Args:
        shift: how far down, in standard deviations; 0 for men.
    """
    spread = math.sqrt(sum(weight**2 for weight in WEIGHTS))
    total = 0.0
    for combination in itertools.product(TERMS, PURPOSES, OWNERSHIPS):
        odds = math.prod(kind[1] for kind in combination)
        centre = BIAS - WEIGHTS[HISTORY] * shift + sum(kind[2] for kind in combination)
        total += odds * 0.5 * (1 + math.erf(centre / spread / math.sqrt(2)))
    return total


@cache
def proxy_shift(disparity: float) -> float:
    """Return by how many standard deviations women's credit histories are shortened.

    Raises:
        ValueError: `disparity` is not in [0, 0.5].
    """
    if not 0 <= disparity <= 0.5:
        raise ValueError("disparity must be between 0 and 0.5")
    if disparity == 0:
        return 0.0
    low, high = 0.0, 20.0
    # Halving the interval 60 times leaves less than a unit in the last place.
    for _ in range(60):
        middle = (low + high) / 2
        if approval_rate(0) - approval_rate(middle) < disparity:
            low = middle
        else:
            high = middle
    return high
