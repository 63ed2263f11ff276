"""Rows by group of an attribute, and what is shown of each group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.fairness.definitions import (
    ACCURACY,
    FALSE_DISCOVERY_RATE,
    FALSE_OMISSION_RATE,
    FALSE_POSITIVE_RATE,
    LABELLED_COLUMNS,
    PRECISION,
    PREDICTED_COLUMNS,
    SELECTION_RATE,
    TRUE_POSITIVE_RATE,
    Rate,
)
from serving.reports.suppression import suppressed

INTERSECTION: Final = " & "
MOST_GROUPS: Final = 12
"""Groups of an attribute that a report names: the largest ones."""
RATES: Final[Sequence[Rate]] = (
    SELECTION_RATE, TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE, PRECISION, FALSE_DISCOVERY_RATE,
    FALSE_OMISSION_RATE, ACCURACY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of an attribute that a report names, the largest first.

    Attributes:
        attribute: one, or several joined.
        names: of the groups.
        codes: of each row its place in `names`, -1: none of them; int64 [n].
        rows, labelled: by group, int64 [groups].
        hidden, labelled_hidden: whose counts are not shown, bool [groups].
        others: how many groups are not named: too small, or too many.
    """

    attribute: str
    names: tuple[str, ...]
    codes: np.ndarray
    rows: np.ndarray
    labelled: np.ndarray
    hidden: np.ndarray
    labelled_hidden: np.ndarray
    others: int

    def counts(self, of: np.ndarray, columns: int) -> np.ndarray:
        """Return rows by group and column, float64 [groups, columns].

        Args:
            of: column of each row, -1: none; int64 [n].
            columns: how many there are.
        """
        found = np.zeros((len(self.names), columns))
        known = (self.codes >= 0) & (of >= 0)
        np.add.at(found, (self.codes[known], of[known]), 1)
        return found

    def sums(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sums, sums of squares and numbers of values by group, [groups] each.

        Args:
            values: of each row, NaN: none; float64 [n].
        """
        known = (self.codes >= 0) & np.isfinite(values)
        places, some = self.codes[known], values[known]
        size = len(self.names)
        return (
            np.bincount(places, some, size),
            np.bincount(places, some**2, size),
            np.bincount(places, minlength=size).astype(np.float64),
        )


def by_attribute(groups: Mapping[str, np.ndarray], labelled: np.ndarray) -> list[Groups]:
    """Return the groups of each attribute, and of all of them at once where there are several.

    Args:
        groups: values by attribute, None where there is none; objects [n] each.
        labelled: which rows have a label, bool [n].
    """
    by_name: dict[str, list[_Group | None]] = {
        name: [None if each is None else (each,) for each in values.tolist()]
        for name, values in groups.items()
    }
    if len(groups) > 1:
        by_name[INTERSECTION.join(groups)] = [
            None if None in of_row else of_row
            for of_row in zip(*(values.tolist() for values in groups.values()), strict=True)
        ]
    return [_groups(name, values, labelled) for name, values in by_name.items()]


_Group = tuple[str, ...]
"""A value of each attribute."""


def _groups(attribute: str, values: Sequence[_Group | None], labelled: np.ndarray) -> Groups:
    counts = Counter(each for each in values if each is not None)
    names, of_name = zip(*counts.most_common(), strict=True) if counts else ((), ())
    # Those that are not named count where it is decided what may be shown of the others.
    place = {name: at for at, name in enumerate(names)}
    codes = np.array([-1 if each is None else place[each] for each in values], np.int64)
    rows = np.array(of_name, np.int64)
    with_label = np.bincount(codes[labelled & (codes >= 0)], minlength=len(names))
    totals = _totals(names)
    hidden = suppressed(rows, totals)
    named = np.flatnonzero(~hidden)[:MOST_GROUPS]
    new = np.full(len(names) + 1, -1, np.int64)  # the last one is for rows without a group
    new[named] = np.arange(len(named))
    return Groups(
        attribute,
        tuple(INTERSECTION.join(names[at]) for at in named),
        new[codes],
        rows[named],
        with_label[named],
        hidden[named],
        suppressed(with_label, totals)[named],
        len(names) - len(named),
    )


def _totals(names: Sequence[_Group]) -> list[np.ndarray]:
    """Return the places that have a value of an attribute in common: it is shown by itself."""
    found: dict[tuple[int, str], list[int]] = {}
    for at, values in enumerate(names):
        for which, value in enumerate(values if len(values) > 1 else ()):
            found.setdefault((which, value), []).append(at)
    return [np.array(each, np.int64) for each in found.values()]


def columns_of(selected: np.ndarray, favorable: np.ndarray) -> dict[bool, tuple[np.ndarray, int]]:
    """Return what rows count as, by whether that rests on labels; see `definitions`.

    Args:
        selected: whether the favourable class was predicted, -1: nothing was; int64 [n].
        favorable: whether it is the true one, -1: nobody knows; int64 [n].
    """
    known = (selected >= 0) & (favorable >= 0)
    cells = np.where(known, 2 * favorable + np.maximum(selected, 0), -1)
    return {False: (selected, PREDICTED_COLUMNS), True: (cells, LABELLED_COLUMNS)}
