"""What is true of rows, in three values as SQL has them (Kleene's logic)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Columns = Mapping[str, np.ndarray]
"""Arrays [n] by name: numbers, or texts as str or bytes."""


class Truth(NamedTuple):
    """What a condition is of n rows: bool [n] each; what is not known is not true."""

    true: np.ndarray
    known: np.ndarray


Judge = Callable[[Columns], Truth]


def either(judges: Sequence[Judge]) -> Judge:
    """Return `or`: known where all sides are, and where one is true."""

    def judge(columns: Columns) -> Truth:
        true, known = judges[0](columns)
        for each in judges[1:]:
            found = each(columns)
            true = true | found.true
            known = true | (known & found.known)
        return Truth(true, known)

    return judges[0] if len(judges) == 1 else judge


def both(judges: Sequence[Judge]) -> Judge:
    """Return `and`: known where all sides are, and where one is false."""

    def judge(columns: Columns) -> Truth:
        true, known = judges[0](columns)
        for each in judges[1:]:
            found = each(columns)
            # Known where either is known to be false, or both are known: `known > true` is false.
            known = (known & found.known) | (known > true) | (found.known > found.true)
            true = true & found.true
        return Truth(true, known)

    return judges[0] if len(judges) == 1 else judge


def opposite(one: Judge) -> Judge:
    """Return `not`: unknown where the condition is."""

    def judge(columns: Columns) -> Truth:
        found = one(columns)
        return Truth(found.known > found.true, found.known)  # known, and not true

    return judge
