"""Conditions that a slice needs, and no others: noise adds some and blurs the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from monitors.slices.discretised import Condition, Discretised
from monitors.slices.objectives import SUPPORT, SUPPORT_SHARE

Worse = Callable[[np.ndarray, np.ndarray], float]
"""Takes the rows in a slice and others, bool [n] each; by how many standard errors it is worse."""
_EARNED: Final = 3.0
"""Standard errors by which a condition must make a slice worse to belong to it."""
_NARROWER: Final = 3.5
"""The same for a narrower range, of which many are tried."""
_ROUNDS: Final = 6


def refined(
    table: Discretised, conditions: tuple[Condition, ...], worse: Worse
) -> tuple[Condition, ...]:
    """Leave out conditions that hardly make a slice worse, and narrow those that clearly can.

    Args:
        table: columns of the rows by which the slice was found.
        conditions: of the slice.
        worse: compares two sets of these rows.
    """
    for _ in range(_ROUNDS):
        shorter = _without_idle(table, conditions, worse)
        narrower = _narrowed(table, shorter, worse)
        if narrower == conditions:
            break
        conditions = narrower
    return conditions


def _without_idle(
    table: Discretised, conditions: tuple[Condition, ...], worse: Worse
) -> tuple[Condition, ...]:
    while len(conditions) > 1:
        inside = table.holds(conditions)
        gains = []
        for at in range(len(conditions)):
            wider = table.holds(conditions[:at] + conditions[at + 1 :])
            gains.append(worse(inside, wider & ~inside))
        least = int(np.argmin(gains))
        if gains[least] >= _EARNED:
            break
        conditions = conditions[:least] + conditions[least + 1 :]
    return conditions


def _narrowed(
    table: Discretised, conditions: tuple[Condition, ...], worse: Worse
) -> tuple[Condition, ...]:
    """Replace the one condition by a range in it that pays best, if one does."""
    inside = table.holds(conditions)
    fewest = max(SUPPORT, SUPPORT_SHARE * len(inside))
    best, chosen = _NARROWER, conditions
    for at, condition in enumerate(conditions):
        for other in table.conditions:
            if not _within(other, condition):
                continue
            tried = (*conditions[:at], other, *conditions[at + 1 :])
            narrow = inside & table.holds((other,))
            if narrow.sum() >= fewest and (gain := worse(narrow, inside & ~narrow)) > best:
                best, chosen = gain, tried
    return chosen


def _within(other: Condition, condition: Condition) -> bool:
    return (
        other != condition
        and other.feature == condition.feature
        and condition.first <= other.first
        and other.last <= condition.last
    )
