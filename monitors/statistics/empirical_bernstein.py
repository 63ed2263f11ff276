"""How far the mean of bounded numbers may be from its expectation, however skewed they are."""

from __future__ import annotations

import numpy as np


def bounded_mean_reach(
    variance: np.ndarray,
    fourth: np.ndarray,
    rows: np.ndarray,
    span: float,
    alpha: np.ndarray,
) -> np.ndarray:
    """Return the reach of bounds of means, on each side.

    They hold at any level for any distribution, where Student's intervals hold only for means that
    are nearly normal: far out, those of skewed numbers never are. The reach is the smaller one of
    two. One is the empirical Bernstein bound. The other is Bernstein's bound with the largest
    variance that the fourth moment allows, itself by an empirical Bernstein bound; it is the
    smaller one from a few hundred rows on.

    Source: Maurer and Pontil (2009), "Empirical Bernstein bounds and sample variance
    penalization", theorem 4; Boucheron, Lugosi and Massart (2013), "Concentration inequalities",
    section 2.8.

    Args:
        variance: of the numbers, as estimated without bias.
        fourth: their mean fourth power around the mean.
        rows: independent numbers that a mean is of; above 1.
        span: of the interval that holds all numbers.
        alpha: probability that a bound is wrong.
    """
    wrong = np.log(16 / alpha)  # of all bounds that have to hold at once
    rest = wrong / (rows - 1)
    plain: np.ndarray = np.sqrt(2 * variance * wrong / rows) + 7 / 3 * span * rest
    of_squares = np.maximum(fourth - variance**2, 0.0)
    # The last part is what the mean itself, which squares are taken around, may be wrong by.
    largest = (
        variance
        + np.sqrt(2 * of_squares * wrong / rows)
        + 7 / 3 * span**2 * rest
        + plain**2
    )  # fmt: skip
    sharp = np.sqrt(2 * largest * wrong / rows) + span * wrong / (3 * rows)
    reach: np.ndarray = np.minimum(plain, sharp)
    return reach


def typical_reach(span: float, alpha: float) -> tuple[float, float]:
    """Return about how far such bounds reach: in standard errors, and farther times the rows."""
    wrong = float(np.log(16 / alpha))
    return float(np.sqrt(2 * wrong)), span * wrong
