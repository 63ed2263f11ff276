"""Disaggregated counts: rows, and those that are hits, for each group of a sensitive attribute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

SMALLEST_GROUP: Final = 20
"""Groups with fewer rows take no part in any figure: it could say something about a person."""

MOST_GROUPS: Final = 256
"""Groups counted per attribute and window, whatever text clients send."""


class Cell(NamedTuple):
    """A group's counts.

    Attributes:
        hits: rows for which the counted thing is so, for example that they were selected.
        rows: rows of the group.
    """

    hits: int
    rows: int

    @property
    def rate(self) -> float:
        """Share of the rows that are hits."""
        return self.hits / self.rows


class GroupCells:
    """Counts by group of one sensitive attribute. Groups have no name outside of it.

    Any rate by group can be kept in one: the selection rate counts all rows and hits those that
    were selected, the true positive rate counts rows whose truth is positive, and so on.
    """

    def __init__(self) -> None:
        self._cells: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """Number of groups counted."""
        return len(self._cells)

    def add(self, groups: Iterable[str | None], hits: Iterable[bool]) -> None:
        """Count rows.

        Args:
            groups: the group of each row; rows of None are not counted.
            hits: whether the row is a hit; as many.
        """
        cells = self._cells
        for group, hit in zip(groups, hits, strict=True):
            if group is None or (group not in cells and len(cells) >= MOST_GROUPS):
                continue
            cell = cells.setdefault(group, [0, 0])
            cell[0] += hit
            cell[1] += 1

    def remove(self, groups: Iterable[str | None], hits: Iterable[bool]) -> None:
        """Count rows no more that `add` was given; those that it did not count are left out."""
        cells = self._cells
        for group, hit in zip(groups, hits, strict=True):
            if group is None or group not in cells:
                continue
            cell = cells[group]
            cell[0] -= hit
            cell[1] -= 1
            if not cell[1]:
                del cells[group]

    def shown(self, smallest: int = SMALLEST_GROUP) -> list[Cell]:
        """Return the cells of at least `smallest` rows, in increasing order of their rate."""
        large = [Cell(*cell) for cell in self._cells.values() if cell[1] >= smallest]
        return sorted(large, key=lambda cell: cell.rate)

    def state(self) -> dict[str, list[int]]:
        """Return [hits, rows] by group as JSON values."""
        return {group: list(cell) for group, cell in self._cells.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Sequence[int]]) -> GroupCells:
        """Return cells with the counts that `state` returned."""
        restored = cls()
        for group, (hits, rows) in state.items():
            restored._cells[group] = [hits, rows]
        return restored
