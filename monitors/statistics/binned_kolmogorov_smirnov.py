"""The two-sample Kolmogorov-Smirnov test for counts in ordered bins, with exact p-values.

The usual p-value assumes continuous data; on binned or tied data it is too large, so a real
change is found late. Here the null distribution is that of the bins at hand.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

LEAST_P_VALUE = 1e-25
"""Smallest p-value that is told apart; events far rarer than this are left out of the sums."""


def binned_kolmogorov_smirnov(
    reference_counts: np.ndarray, current_counts: np.ndarray
) -> tuple[float, float]:
    """Compare two samples by the largest gap between their distribution functions at bin ends.

    The p-value is P(gap >= the observed one) when the pooled rows are split at random into
    two samples of these sizes: the permutation test, given the pooled count of every bin, so it
    holds for ties and discrete data. It is computed, not simulated: the number of current rows
    in the first j bins is a Markov chain, whose mass is followed while it stays inside the gap
    and summed where it leaves (the lattice-path method of Hodges (1958), "The significance
    probability of the Smirnov two-sample test", taken bin by bin).

    Args:
        reference_counts: rows per bin, in order, integer [bins].
        current_counts: the same for the current sample, integer [bins].

    Returns:
        The gap in [0, 1] and its p-value. Without rows on one side they are NaN and 1.
    """
    pooled = reference_counts + current_counts
    filled = pooled > 0
    totals = pooled[filled].tolist()
    n, m = int(reference_counts.sum()), int(current_counts.sum())
    if not n or not m:
        return math.nan, 1.0
    # Integers keep "at least as large as observed" free of rounding.
    seen = np.cumsum(current_counts[filled]) * (n + m) - m * np.cumsum(totals)
    gap = int(np.abs(seen).max())
    statistic = gap / (n * m)
    if statistic * statistic * n * m / (n + m) > 30:  # 2 exp(-2 * 30) < LEAST_P_VALUE
        return statistic, LEAST_P_VALUE
    if gap == 0:
        return statistic, 1.0
    p_value = _exit_probability(totals, n, m, gap)
    return statistic, min(max(p_value, LEAST_P_VALUE), 1.0)


def kolmogorov_smirnov_bound(
    reference_counts: np.ndarray, current_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gap of `binned_kolmogorov_smirnov` and an upper bound of its p-value, quickly.

    The bound is e exp(-2 gap^2 n m / (n + m)), of the form of Dvoretzky, Kiefer and Wolfowitz
    with the constant that Wei and Dudley (2012), "Two-sample Dvoretzky-Kiefer-Wolfowitz
    inequalities", prove for two samples of one size, whatever it is. For unequal sizes it is not
    proven; the tests compare it with the exact p-value. Bins only make the gap smaller.

    Args:
        reference_counts: rows per bin, in order, integer [..., bins].
        current_counts: the same for the current sample, integer [..., bins].

    Returns:
        Gaps and bounds, float64 [...]; NaN and 1 where there are no rows on one side.
    """
    reference, current = np.cumsum(reference_counts, axis=-1), np.cumsum(current_counts, axis=-1)
    n, m = reference[..., -1:], current[..., -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.abs(reference / n - current / m).max(axis=-1)
        n, m = n[..., 0], m[..., 0]
        bound = np.clip(np.exp(1 - 2 * gap * gap * n * m / (n + m)), LEAST_P_VALUE, 1.0)
    empty = (n == 0) | (m == 0)
    return np.where(empty, np.nan, gap), np.where(empty, 1.0, bound)


def _exit_probability(totals: list[int], n: int, m: int, gap: int) -> float:
    """P(|c_j (n + m) - m t_j| >= gap for some j), c_j of the first t_j pooled rows current."""
    everything = n + m
    binomial = _Binomial(everything, m)
    inside, first = np.ones(1), 0  # mass of c = first, first + 1, ...
    left = everything
    exits = 0.0
    for total in totals[:-1]:
        left -= total
        least, most = binomial.support(total)
        mass = np.convolve(inside, binomial.probabilities(total, least, most))
        first += least
        centre = m * (everything - left)
        low = min(max((centre - gap) // everything + 1 - first, 0), len(mass))
        high = max(-((-centre - gap) // everything) - first, low)
        inside = mass[low:high].copy()
        mass[low:high] = 0
        # What left the band must still end at m after the rows of the later bins.
        start, stop = max(m - left - first, 0), min(m - first + 1, len(mass))
        if start < stop:
            ends = binomial.probabilities(left, m - first - stop + 1, m - first - start)
            exits += float(mass[start:stop] @ ends[::-1])
        first += low
        if not len(inside):
            break
    return exits / float(binomial.probabilities(everything, m, m)[0])


class _Binomial:
    """Probabilities of m / everything per row, from one table of log factorials."""

    def __init__(self, everything: int, m: int) -> None:
        self._share = m / everything
        self._log_share, self._log_rest = math.log(self._share), math.log1p(-self._share)
        self._factorials = _log_factorials(everything)

    def support(self, total: int) -> tuple[int, int]:
        """Least and most successes; by Bernstein's inequality 1e-32 of the mass is outside."""
        mean = total * self._share
        reach = 14 * math.sqrt(mean * (1 - self._share)) + 40
        return max(int(mean - reach), 0), min(int(mean + reach) + 1, total)

    def probabilities(self, total: int, least: int, most: int) -> np.ndarray:
        """Probabilities of least, ..., most successes in `total` rows, in that order."""
        table = self._factorials
        logs = table[least : most + 1] + table[total - most : total - least + 1][::-1]
        logs -= np.arange(least, most + 1) * (self._log_share - self._log_rest)
        logs -= table[total] + total * self._log_rest
        probabilities: np.ndarray = np.exp(-logs)
        return probabilities


@lru_cache(maxsize=4)  # windows have one length, so all columns and windows share one table
def _log_factorials(largest: int) -> np.ndarray:
    table: np.ndarray = gammaln(np.arange(1.0, largest + 2))
    return table
