"""Sensitive values that came with predictions, kept until their labels come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitors.performance.run_lengths import runs, spread

Groups = Mapping[str, str | None]
"""Values of one row by attribute; None: one came, and nobody knows what it was. Never changed."""

NO_GROUPS: Final[Groups] = {}
MOST_SHARED: Final = 4096
"""Combinations of values that rows share; clients choose the values, so there may be any number."""


class SharedGroups:
    """Gives rows with the same values one mapping: a row costs a reference."""

    def __init__(self) -> None:
        self._shared: dict[tuple[tuple[str, ...], tuple[str | None, ...]], Groups] = {}

    def of(self, groups: Mapping[str, np.ndarray]) -> list[Groups] | None:
        """Return the values of each row; None where no attribute came.

        Args:
            groups: see `Rows.groups`.
        """
        if not groups:
            return None
        names = tuple(groups)
        rows = zip(*(values.tolist() for values in groups.values()), strict=True)
        return [self._of(names, values) for values in rows]

    def _of(self, names: tuple[str, ...], values: tuple[str | None, ...]) -> Groups:
        found = self._shared.get((names, values))
        if found is None:
            if len(self._shared) >= MOST_SHARED:
                self._shared.clear()
            pairs = zip(names, values, strict=True)
            found = {name: value for name, value in pairs if value is not None}
            self._shared[names, values] = found
        return found


def saved(groups: Sequence[Groups]) -> dict[str, Any]:
    """Return the values of rows as JSON values: those that differ, and who has which."""
    places: dict[int, int] = {}
    values: list[Groups] = []
    by_row = []
    for each in groups:
        place = places.get(id(each))
        if place is None:
            place = places[id(each)] = len(values)
            values.append(each)
        by_row.append(place)
    return {"values": values, "rows": runs(by_row)}


def restored(saved: Any) -> list[Groups]:
    """Return what `saved` was given; earlier releases saved names, and how many rows had them."""
    if isinstance(saved, dict):
        values = saved["values"]
        return [values[place] for place in spread(saved["rows"])]
    return [groups for names, rows in saved for groups in [groups_of(names)] * rows]


def without_rows(told: Any, out: Sequence[bool]) -> Any:
    """Return what `saved` told with no values of the rows that are `out`."""
    rows = zip(restored(told), out, strict=True)
    return saved([NO_GROUPS if gone else each for each, gone in rows])


def groups_of(told: Mapping[str, str | None] | Iterable[str]) -> Groups:
    """Return values of a row as they were saved; of names alone nobody knows the values."""
    return told if isinstance(told, Mapping) else dict.fromkeys(told)
