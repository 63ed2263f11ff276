"""Loan applicants of an hour of the played day, as the planted change makes them."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from serving.demo.loans import DISPARITY, OWNERSHIPS, PURPOSES, proxy_shift, sample_applicants
from serving.demo.traffic.schedule import HOURS, Change

LONG_TERM: Final = 60.0
_CYCLE: Final = 0.3
"""How much more or less often there is a car to be paid, by the hour."""
_WANTED: Final = 36.0
"""How many times as often as ever applicants want a long loan: then nine of ten do."""
_STEEP: Final = 3.0
"""How strongly credit history tells women from men while a gap is planted."""
_POOL: Final = 8
"""Of so many applicants one is chosen."""
TERM: Final = 2
"""Where the term stands among the numbers."""
_HISTORY: Final = 3
_RENT: Final = OWNERSHIPS[0][0].encode()
_CAR: Final = PURPOSES[0][0].encode()


class Applicants(NamedTuple):
    """Rows of the model `loans`.

    Attributes:
        numeric: float32 [n, 5].
        categorical: bytes, objects [n, 2].
        sex: `F` or `M`, objects [n].
        y_true: class names, objects [n].
    """

    numeric: np.ndarray
    categorical: np.ndarray
    sex: np.ndarray
    y_true: np.ndarray


def applicants(
    n: int, hour: float, planted: Change | None, random: np.random.Generator
) -> Applicants:
    """Draw the applicants who come at an hour.

    They are chosen among those of `loans`, so that every row has the truth that belongs to it. By
    day more of them want a car than by night. Their sex is drawn anew: it has nothing to do with
    the answer unless a gap is planted, and inputs are those of the reference in both cases.

    Args:
        n: rows.
        hour: of the day.
        planted: the change that is played.
        random: where chance comes from.
    """
    pool = sample_applicants(_POOL * n, seed=int(random.integers(2**63)))
    numeric, categorical = pool.inputs["numeric"], pool.inputs["categorical"]
    by_day = 1 - _CYCLE * math.cos(2 * math.pi * (hour - 4) / HOURS)
    weights = np.where(categorical[:, 0] == _CAR, by_day, 1.0)
    if planted == "drift":
        weights = weights * np.where(numeric[:, TERM] == LONG_TERM, _WANTED, 1.0)
    chosen = random.choice(len(weights), n, replace=False, p=weights / weights.sum())
    numeric, categorical = numeric[chosen], categorical[chosen]
    y_true = np.asarray(pool.y_true)[chosen]
    if planted == "concept change":
        y_true = np.where(categorical[:, 1] == _RENT, "rejected", y_true).astype(object)
    female = random.random(n) < 0.5
    if planted == "fairness gap":
        female = random.random(n) < short_history(numeric[:, _HISTORY])
    return Applicants(numeric, categorical, np.where(female, "F", "M").astype(object), y_true)


def short_history(years: np.ndarray) -> np.ndarray:
    """Return how probably an applicant of such a credit history is a woman while a gap is planted.

    It is a half in the middle of all applicants, so that there are as many women as ever.

    Args:
        years: [n].
    """
    # As `loans` makes years of what is normal: the women's are shifted down there.
    normal = (np.log(years / (50 - years)) + 1.2) / 0.9 + proxy_shift(DISPARITY) / 2
    odds: np.ndarray = 1 / (1 + np.exp(_STEEP * normal))
    return odds
