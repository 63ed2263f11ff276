"""How far apart the rates of groups are, with intervals that hold for all pairs together."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

import numpy as np

from monitors.fairness.group_cells import SMALLEST_GROUP

Reference = Literal["each", "largest", "highest", "lowest"]
"""With whom a group is compared: each other one, that of most rows, of the highest or lowest rate."""


class Comparison(NamedTuple):
    """What groups differ by.

    Attributes:
        difference: largest rate minus smallest, of the pairs that are compared; NaN without two.
        ratio: smallest over largest; NaN without two, or if no row is a hit.
        low, high: interval of `difference`: no pair's true difference is shown to be above
            `high`, and some pair's is above `low`.
        ratio_low, ratio_high: interval of `ratio`, the other way about.
        rows: rows of the groups that were compared.
        judged: groups with enough rows for a verdict.
        compared: groups with enough rows for a figure.
    """

    difference: float
    ratio: float
    low: float
    high: float
    ratio_low: float
    ratio_high: float
    rows: int
    judged: int
    compared: int


NOTHING: Final = Comparison(*(math.nan,) * 6, 0, 0, 0)


def compare(
    hits: np.ndarray,
    rows: np.ndarray,
    alpha: float,
    min_rows: int,
    factor: float = 1.0,
    reference: Reference = "each",
) -> Comparison:
    """Compare groups.

    Intervals of differences are Newcombe's (method 10 of 1998), of ratios the MOVER-R interval of
    Donner and Zou (2012), both made of Wilson intervals; `alpha` is shared by the pairs
    (Bonferroni).

    Args:
        hits, rows: counts by group, [groups].
        alpha: probability that a one-sided bound is wrong for any pair.
        min_rows: rows that a group needs to count for the bounds.
        factor: how many times as much rates vary as those of independent rows.
        reference: with whom groups are compared.
    """
    shown = rows >= SMALLEST_GROUP
    hits, rows = hits[shown], rows[shown]
    total, groups = int(rows.sum()), len(rows)
    if groups < 2:
        return NOTHING._replace(rows=total, judged=int((rows >= min_rows).sum()), compared=groups)
    rates = hits / rows
    pairs = _pairs(rates, rows, reference)
    apart = np.where(pairs, rates[:, None] - rates[None, :], -np.inf)
    high_at, low_at = np.unravel_index(apart.argmax(), apart.shape)
    difference = float(apart[high_at, low_at])
    ratio = float(rates[low_at] / rates[high_at]) if rates[high_at] else math.nan
    enough = rows >= min_rows
    found = NOTHING._replace(
        difference=difference, ratio=ratio, rows=total, judged=int(enough.sum()), compared=groups
    )
    pairs &= enough[:, None] & enough[None, :]
    if not pairs.any():
        return found
    # A pair stands in both orders, and each has a bound of its own.
    z = -NormalDist().inv_cdf(alpha / int(pairs.sum()))
    lower, upper = _wilson(rates, rows / factor, z)
    below, above = rates - lower, upper - rates
    apart = rates[:, None] - rates[None, :]
    lows = apart - np.hypot(below[:, None], above[None, :])
    highs = apart + np.hypot(above[:, None], below[None, :])
    ratio_lows, ratio_highs = _ratios(rates, lower, upper)
    return found._replace(
        low=float(lows[pairs].max()),
        high=float(highs[pairs].max()),
        ratio_low=float(ratio_lows[pairs].min()),
        ratio_high=float(ratio_highs[pairs].min()),
    )


def _pairs(rates: np.ndarray, rows: np.ndarray, reference: Reference) -> np.ndarray:
    """Return which groups (first axis) are compared with which, bool [groups, groups]."""
    groups = len(rates)
    pairs = ~np.eye(groups, dtype=np.bool_)
    if reference == "each":
        return pairs
    with_whom = int({"largest": rows, "highest": rates, "lowest": -rates}[reference].argmax())
    only = np.zeros_like(pairs)
    only[with_whom], only[:, with_whom] = True, True
    return pairs & only


def _wilson(rates: np.ndarray, rows: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
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
    """Return bounds of rates[i] / rates[j] as [groups, groups]; infinite where nothing bounds it."""
    first, second = rates[:, None], rates[None, :]
    product = first * second
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = product**2 - lower[:, None] * upper[None, :] * (2 * first - lower[:, None]) * (
            2 * second - upper[None, :]
        )
        lows = (product - np.sqrt(np.maximum(spread, 0))) / (
            upper[None, :] * (2 * second - upper[None, :])
        )
        spread = product**2 - upper[:, None] * lower[None, :] * (2 * first - upper[:, None]) * (
            2 * second - lower[None, :]
        )
        highs = (product + np.sqrt(np.maximum(spread, 0))) / (
            lower[None, :] * (2 * second - lower[None, :])
        )
        # Where Fieller's parabola opens the other way the bounds of the shares alone are used.
        plain_lows, plain_highs = lower[:, None] / upper[None, :], upper[:, None] / lower[None, :]
    lows = np.where(2 * second > upper[None, :], lows, plain_lows)
    highs = np.where(lower[None, :] > 0, highs, plain_highs)
    return np.nan_to_num(lows, nan=0.0, posinf=np.inf), np.nan_to_num(highs, nan=np.inf, posinf=np.inf)
