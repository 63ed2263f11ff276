"""Counts of one sensitive attribute's groups, in columns: what any rate by group is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monitors.fairness.group_bounds import MOST_GROUPS


class GroupTable:
    """Counts [groups, columns]; groups get a row in the order in which they come first.

    At most `MOST_GROUPS` groups are counted, whatever text clients send; rows of others are not.

    Args:
        columns: how many counts a group has.
    """

    def __init__(self, columns: int) -> None:
        self._places: dict[str, int] = {}
        self.counts = np.zeros((0, columns))

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in the order of the rows."""
        return list(self._places)

    def codes(self, values: Sequence[str | None]) -> np.ndarray:
        """Return the row of each value, int64 [n]; -1 where it has none.

        Args:
            values: the group of each of n rows; None: not known.
        """
        places = self._places
        for value in dict.fromkeys(values):
            if value is not None and value not in places and len(places) < MOST_GROUPS:
                places[value] = len(places)
        found = [-1 if value is None else places.get(value, -1) for value in values]
        missing = len(places) - len(self.counts)
        if missing:
            self.counts = np.pad(self.counts, ((0, missing), (0, 0)))
        return np.array(found, dtype=np.int64)

    def add(self, codes: np.ndarray, column: np.ndarray, amount: float = 1.0) -> None:
        """Count rows.

        Args:
            codes: what `codes` returned for n rows.
            column: where each of them counts, int64 [n]; -1: nowhere.
            amount: what a row adds.
        """
        which = (codes >= 0) & (column >= 0)
        np.add.at(self.counts, (codes[which], column[which]), amount)

    def add_values(self, codes: np.ndarray, column: int, values: np.ndarray) -> None:
        """Add a number of each row to a column; rows whose number is not finite add nothing."""
        which = (codes >= 0) & np.isfinite(values)
        np.add.at(self.counts, (codes[which], column), values[which])

    def state(self) -> dict[str, list[float]]:
        """Return the counts by group as JSON values."""
        return dict(zip(self._places, self.counts.tolist(), strict=True))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: it has other columns.
        """
        columns = self.counts.shape[1]
        counts = np.array([*state.values()] or np.zeros((0, columns)), dtype=np.float64)
        if counts.shape != (len(state), columns):
            raise ValueError("the counts of groups are of other columns")
        self._places = {name: at for at, name in enumerate(state)}
        self.counts = counts
