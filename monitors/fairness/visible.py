"""What disparities between groups can be seen at the present traffic, and how soon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitors.fairness.comparison import Reference
from monitors.fairness.definitions import Figure
from monitors.fairness.group_bounds import SMALLEST_GROUP
from monitors.windows.resolution import Resolution

FEW_GROUPS = "fewer than two groups have been seen often enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What came of an attribute's groups over a lookback.

    Attributes:
        counts: by group, [groups, columns].
        rows: rows of its windows, those without a group too.
        window: rows of a window.
        rate: rows per second.
    """

    counts: np.ndarray
    rows: int
    window: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strictness:
    """How verdicts about a definition are reached.

    Attributes:
        budget: false alarms that are expected per quarter.
        figures: among which the budget is shared.
        min_rows: rows that a group needs.
        factor: how many times as much figures vary as those of independent rows.
        whom: with whom groups are compared.
    """

    budget: float
    figures: int
    min_rows: int
    factor: float
    whom: Reference


def resolution(
    figure: Figure, traffic: Traffic, strict: Strictness, tolerated: float, *, ratio: bool
) -> Resolution | None:
    """Return what can be seen of the pair of groups that is seen worst; None: no two groups.

    That is the pair whose difference has the largest standard error. It is taken to be apart by as
    much as is tolerated and the gap beyond it. Gaps of ratios are in logarithms.

    Args:
        figure: that is compared.
        traffic: by group.
        strict: how verdicts are reached.
        tolerated: difference or ratio.
        ratio: which of them.
    """
    rows = figure.rows(traffic.counts)
    some = np.flatnonzero(rows >= SMALLEST_GROUP)
    if len(some) < 2 or not traffic.rows:
        return None
    shares = rows[some] / traffic.rows
    known = [figure.spread(traffic.counts[at]) for at in some.tolist()]
    values = np.array([each.value for each in known])
    first, second = _pair(shares, values, strict.whom)
    pairs = len(some) * (len(some) - 1) if strict.whom == "each" else 2 * (len(some) - 1)
    middle = float(values[[first, second]].mean())

    def sd(gap: float) -> float:
        apart = (1 - tolerated * math.exp(-gap)) * middle if ratio else tolerated + gap
        parts = 0.0
        for place, wanted in ((first, middle + apart / 2), (second, middle - apart / 2)):
            at, variance = known[place].at(wanted)
            parts += variance / (at**2 if ratio else 1) / shares[place]
        return math.sqrt(parts)

    def bound(alpha: float) -> tuple[float, float]:
        score, slack = figure.bound(alpha)
        # What both groups reach farther counts as their standard errors do.
        return score, slack * math.hypot(1 / shares[first], 1 / shares[second]) / (
            middle if ratio else 1
        )

    smallest = float(min(shares[first], shares[second]))
    return Resolution(
        sd=sd,
        factor=lambda _windows: strict.factor,
        budget=strict.budget,
        shares=strict.figures * pairs,
        bound=bound,
        window=traffic.window,
        rate=traffic.rate,
        least=strict.min_rows / smallest,
    )


def _pair(shares: np.ndarray, known: np.ndarray, whom: Reference) -> tuple[int, int]:
    """Return the two groups whose difference is known worst."""
    order: Sequence[int] = np.argsort(shares, kind="stable").tolist()
    if whom == "each":
        return order[0], order[1]
    best = {"largest": shares, "highest": known, "lowest": -known}[whom]
    with_whom = int(best.argmax())
    return next(at for at in order if at != with_whom), with_whom
