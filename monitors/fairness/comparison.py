"""How far apart the rates of groups are, with intervals that hold for all pairs together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from monitors.fairness.group_bounds import SMALLEST_GROUP
from monitors.statistics.empirical_bernstein import bounded_mean_reach

Reference = Literal["each", "largest", "highest", "lowest"]
"""With whom a group is compared: each other, that of most rows, of the highest or lowest rate."""


class Comparisons(NamedTuple):
    """What groups differ by, over n lookbacks; each attribute is [n].

    Attributes:
        difference: largest rate minus smallest, of the pairs that are compared; NaN without two.
        ratio: smallest over largest; NaN without two, or if no row is a hit.
        low, high: interval of `difference`: no pair's true difference is shown to be above
            `high`, and some pair's is above `low`; NaN where no pair has enough rows.
        ratio_low, ratio_high: interval of `ratio`, the other way about.
        rows: rows of the groups that were compared.
        judged: groups with enough rows for a verdict.
        compared: groups with enough rows for a figure.
    """

    difference: np.ndarray
    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ratio_low: np.ndarray
    ratio_high: np.ndarray
    rows: np.ndarray
    judged: np.ndarray
    compared: np.ndarray

    def at(self, place: int) -> tuple[float, ...]:
        """Return one lookback's values, in the order of the attributes."""
        return tuple(float(values[place]) for values in self)


def compare(
    hits: np.ndarray,
    rows: np.ndarray,
    alpha: np.ndarray,
    min_rows: int,
    factor: float = 1.0,
    reference: Reference = "each",
) -> Comparisons:
    """Compare groups, over n lookbacks at once.

    Intervals of differences are Newcombe's (method 10 of 1998), of ratios the MOVER-R interval of
    Donner and Zou (2012), both made of Wilson intervals; `alpha` is shared by the pairs
    (Bonferroni).

    Args:
        hits, rows: counts by group, [n, groups].
        alpha: probability that a one-sided bound is wrong for any pair, [n].
        min_rows: rows that a group needs to count for the bounds.
        factor: how many times as much rates vary as those of independent rows.
        reference: with whom groups are compared.
    """
    hits, rows = _told(rows, hits, rows)
    rates = hits / np.maximum(rows, 1)

    def bounds(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _wilson(rates, np.maximum(rows, 1) / factor, -ndtri(alpha)[:, None])

    return _compared(rates, rows, alpha, min_rows, bounds, reference)


def compare_means(
    total: np.ndarray,
    squares: np.ndarray,
    rows: np.ndarray,
    alpha: np.ndarray,
    min_rows: int,
    *,
    signed: bool = False,
    factor: float = 1.0,
    reference: Reference = "each",
) -> Comparisons:
    """Compare means of groups, over n lookbacks at once.

    Intervals are made of Student's intervals of the groups' means as those of `compare` are made
    of Wilson's; of two groups that is nearly Welch's, a little wider.

    Args:
        total, squares: sums of the numbers and of their squares by group, [n, groups].
        rows: how many numbers there are by group, [n, groups].
        alpha, min_rows, factor, reference: see `compare`; the highest mean counts as the best.
        signed: whether numbers may be negative; then there are no ratios.
    """

    total, squares, rows = _told(rows, total, squares, rows)
    count = np.maximum(rows, 2)
    means = total / np.maximum(rows, 1)
    error = np.sqrt(_variance(means, total, squares, count) / count * factor)
    freedom = np.maximum(count / factor - 1, 1.0)

    def reach(alpha: np.ndarray) -> np.ndarray:
        found: np.ndarray = -stdtrit(freedom, alpha) * error
        return found

    return _compared_means(means, rows, alpha, min_rows, reach, signed, reference)


class Moments(NamedTuple):
    """Sums by group over n lookbacks, [n, groups] each: of rows, numbers and their powers."""

    rows: np.ndarray
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    fourth: np.ndarray


def compare_bounded_means(
    sums: Moments,
    alpha: np.ndarray,
    min_rows: int,
    *,
    signed: bool = False,
    factor: float = 1.0,
    reference: Reference = "each",
) -> Comparisons:
    """Compare means of numbers from 0 to 1, or from -1 to 1, over n lookbacks at once.

    Their bounds hold at any level, also for skewed numbers; see `bounded_mean_reach`.

    Args:
        sums: of the groups' numbers.
        alpha, min_rows, factor, reference: see `compare_means`.
        signed: whether numbers may be negative; then there are no ratios.
    """
    rows, first, second, third, fourth = _told(sums.rows, *sums)
    count = np.maximum(rows, 2)
    means = first / np.maximum(rows, 1)
    variance = _variance(means, first, second, count)
    around = fourth - 4 * means * third + 6 * means**2 * second - 3 * means**3 * first
    independent = np.maximum(count / factor, 2.0)
    span = 2.0 if signed else 1.0

    def reach(alpha: np.ndarray) -> np.ndarray:
        of_mean = np.maximum(around, 0.0) / count
        return bounded_mean_reach(variance, of_mean, independent, span, alpha)

    return _compared_means(means, rows, alpha, min_rows, reach, signed, reference)


def _variance(
    means: np.ndarray, total: np.ndarray, squares: np.ndarray, count: np.ndarray
) -> np.ndarray:
    found: np.ndarray = np.maximum(squares - means * total, 0.0) / (count - 1)
    return found


def _compared_means(
    means: np.ndarray,
    rows: np.ndarray,
    alpha: np.ndarray,
    min_rows: int,
    reach: Callable[[np.ndarray], np.ndarray],
    signed: bool,
    reference: Reference,
) -> Comparisons:
    """Compare means; `reach` takes what each bound may be wrong with, [n, 1]."""

    def bounds(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        far = reach(alpha[:, None])
        lower = means - far
        return (lower if signed else np.maximum(lower, 0.0)), means + far

    found = _compared(means, rows, alpha, min_rows, bounds, reference)
    if not signed:
        return found
    none = np.full_like(found.ratio, np.nan)
    return found._replace(ratio=none, ratio_low=none, ratio_high=none)


def worst(found: Sequence[Comparisons]) -> Comparisons:
    """Return the largest difference and the smallest ratio of several rates, with their bounds.

    Each bound may be wrong with its share of the probability, so that all hold together.
    """
    if len(found) == 1:
        return found[0]
    by_name = {
        name: np.stack([getattr(each, name) for each in found]) for name in Comparisons._fields
    }
    compared = by_name["compared"].min(axis=0)
    return Comparisons(
        difference=np.fmax.reduce(by_name["difference"]),
        ratio=np.fmin.reduce(by_name["ratio"]),
        low=np.fmax.reduce(by_name["low"]),
        high=by_name["high"].max(axis=0),
        ratio_low=by_name["ratio_low"].min(axis=0),
        ratio_high=np.fmin.reduce(by_name["ratio_high"]),
        rows=by_name["rows"].max(axis=0),
        # As many as are compared only where that holds of every rate.
        judged=compared - (by_name["compared"] - by_name["judged"]).max(axis=0),
        compared=compared,
    )


def _told(rows: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the columns of groups that are large enough in some lookback."""
    some = (rows >= SMALLEST_GROUP).any(axis=0)
    return tuple(each[:, some] for each in columns)


def _compared(
    rates: np.ndarray,
    rows: np.ndarray,
    alpha: np.ndarray,
    min_rows: int,
    bounds: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    reference: Reference,
) -> Comparisons:
    """Compare figures of groups; `bounds` takes the probability of each bound, [n]."""
    shown = rows >= SMALLEST_GROUP
    enough = shown & (rows >= min_rows)
    apart = rates[:, :, None] - rates[:, None, :]
    pairs = _pairs(rates, np.where(shown, rows, -1), shown, reference)
    difference = _most(apart, pairs, -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = -_most(-(rates[:, :, None] / rates[:, None, :]), pairs, -np.inf)
    # A group of few rows may not be whom others are judged by.
    judged = _pairs(rates, np.where(enough, rows, -1), enough, reference)
    # A pair stands in both orders, and each has a bound of its own.
    lower, upper = bounds(alpha / np.maximum(judged.sum(axis=(1, 2)), 1))
    below, above = rates - lower, upper - rates
    lows = apart - np.hypot(below[:, :, None], above[:, None, :])
    highs = apart + np.hypot(above[:, :, None], below[:, None, :])
    ratio_lows, ratio_highs = _ratios(rates, lower, upper)
    return Comparisons(
        difference=difference,
        ratio=ratio,
        low=_most(lows, judged, -np.inf),
        high=_most(highs, judged, -np.inf),
        ratio_low=-_most(-ratio_lows, judged, -np.inf),
        ratio_high=-_most(-ratio_highs, judged, -np.inf),
        rows=np.where(shown, rows, 0).sum(axis=1),
        judged=enough.sum(axis=1),
        compared=shown.sum(axis=1),
    )


def _most(values: np.ndarray, pairs: np.ndarray, least: float) -> np.ndarray:
    """Return the largest value of the pairs, [n]; NaN where there is none."""
    known = pairs & ~np.isnan(values)
    most: np.ndarray = np.where(known, values, least).max(axis=(1, 2), initial=least)
    found: np.ndarray = np.where(known.any(axis=(1, 2)), most, np.nan)
    return found


def _pairs(
    rates: np.ndarray, rows: np.ndarray, shown: np.ndarray, reference: Reference
) -> np.ndarray:
    """Return which groups (second axis) are compared with which, bool [n, groups, groups]."""
    n, groups = rates.shape
    pairs: np.ndarray = shown[:, :, None] & shown[:, None, :] & ~np.eye(groups, dtype=np.bool_)
    if reference == "each" or not groups:
        return pairs
    by = {
        "largest": rows,
        "highest": np.where(shown, rates, -np.inf),
        "lowest": np.where(shown, -rates, -np.inf),
    }[reference]
    with_whom = by.argmax(axis=1)
    only = np.zeros_like(pairs)
    only[np.arange(n), with_whom] = True
    only |= only.transpose(0, 2, 1)
    pairs &= only
    return pairs


def _wilson(rates: np.ndarray, rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's intervals of shares, see `monitors.statistics.wilson`; rows may be no integers."""
    weight = z * z / rows
    centre = (rates + weight / 2) / (1 + weight)
    reach = z * np.sqrt(rates * (1 - rates) / rows + weight / (4 * rows)) / (1 + weight)
    lower = np.where(rates > 0, centre - reach, 0.0)
    upper = np.where(rates < 1, centre + reach, 1.0)
    return lower, upper


def _ratios(
    rates: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of rates[i] / rates[j], [n, groups, groups]; infinite where nothing bounds."""
    first, second = rates[:, :, None], rates[:, None, :]
    first_low, first_high = lower[:, :, None], upper[:, :, None]
    low, high = lower[:, None, :], upper[:, None, :]
    square = (first * second) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = square - first_low * high * (2 * first - first_low) * (2 * second - high)
        lows = (first * second - np.sqrt(np.maximum(spread, 0))) / (high * (2 * second - high))
        spread = square - first_high * low * (2 * first - first_high) * (2 * second - low)
        highs = (first * second + np.sqrt(np.maximum(spread, 0))) / (low * (2 * second - low))
        # Where Fieller's parabola opens the other way the bounds of the shares alone are used.
        lows = np.where(2 * second > high, lows, first_low / high)
        highs = np.where(low > 0, highs, np.inf)
    return np.nan_to_num(lows, nan=0.0), np.nan_to_num(highs, nan=np.inf, posinf=np.inf)
