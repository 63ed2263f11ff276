"""Sums over the past in blocks that grow longer with their age, so that many lookbacks cost little.

A lookback is the sum of the newest blocks. Nothing is ever subtracted, so one wild number of the
past spoils no later figure, and a corrected label changes the block that its row is in.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitors.windows.ageing import kept


@dataclass(slots=True)
class Block:
    """Sums over windows that follow each other.

    Attributes:
        number: how many windows had closed when it began.
        since: seconds since the epoch when its first row came.
        first: position of its first row among those with a label, see `Rows.positions`; -1: not
            known.
        sums: float64 [columns].
    """

    number: int
    since: float
    first: int
    sums: np.ndarray


class AgedBlocks:
    """The blocks of one stream; the last one is the window that is open.

    Args:
        columns: of the sums.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._blocks: list[Block] = []
        self._windows = 0

    @property
    def windows(self) -> int:
        """How many windows have closed."""
        return self._windows

    def open(self, time: float, positions: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the sums of the open window, to be added to; float64 [columns].

        Args:
            time: seconds since the epoch when rows came.
            positions: of these rows.
        """
        if not self._blocks or self._blocks[-1].number < self._windows:
            first = int(positions[0]) if len(positions) else -1
            self._blocks.append(Block(self._windows, time, first, np.zeros(self._columns)))
        return self._blocks[-1].sums

    def close(self) -> None:
        """End the open window, which has rows; join blocks between which no moment is remembered.

        What is older than the oldest moment is forgotten.
        """
        self._windows += 1
        blocks: list[Block] = []
        for block in self._blocks:
            if kept(block.number, self._windows):
                blocks.append(block)
            elif blocks:
                blocks[-1].sums = blocks[-1].sums + block.sums
        self._blocks = blocks

    def lookbacks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what was counted since each remembered moment, the shortest lookback first.

        The window that is open is left out.

        Returns:
            How many windows have closed since, int64 [m]; when it began, seconds since the epoch
            [m]; sums, float64 [m, columns].
        """
        closed = self.closed[::-1]
        windows = np.array([self._windows - each.number for each in closed], np.int64)
        since = np.array([each.since for each in closed])
        sums = np.array([each.sums for each in closed]).reshape(-1, self._columns)
        return windows, since, np.add.accumulate(sums, axis=0)

    def total(self) -> np.ndarray:
        """Return what is counted in all windows that are remembered, the open one too [columns]."""
        sums = np.array([each.sums for each in self._blocks]).reshape(-1, self._columns)
        total: np.ndarray = sums.sum(axis=0)
        return total

    @property
    def closed(self) -> list[Block]:
        """The blocks without the open one, the oldest first."""
        return [each for each in self._blocks if each.number < self._windows]

    def between(self, newer: int, older: int) -> np.ndarray | None:
        """Return what was counted between two ages, float64 [columns]; None: one is not remembered.

        Args:
            newer, older: windows that have closed since.
        """
        numbers = {each.number for each in self._blocks} | {self._windows}
        if not {self._windows - newer, self._windows - older} <= numbers:
            return None
        found = [e.sums for e in self.closed if newer < self._windows - e.number <= older]
        total: np.ndarray = np.add.reduce(found)
        return total

    def places(self, positions: np.ndarray) -> list[tuple[Block, np.ndarray]]:
        """Return blocks with the rows that were counted in them, bool [n] each.

        Args:
            positions: of the rows, int64 [n].
        """
        known = [each for each in self._blocks if each.first >= 0]
        firsts = np.array([each.first for each in known], np.int64)
        place = np.searchsorted(firsts, positions, side="right") - 1
        found = [(block, place == at) for at, block in enumerate(known)]
        return [(block, rows) for block, rows in found if rows.any()]

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        blocks = [[each.number, each.since, each.first, packed(each.sums)] for each in self._blocks]
        return {"windows": self._windows, "blocks": blocks}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError: it is of other sums.
        """
        windows = int(state["windows"])
        blocks = [
            Block(int(number), float(since), int(first), unpacked(sums, self._columns))
            for number, since, first, sums in state["blocks"]
        ]
        self._windows, self._blocks = windows, blocks


def packed(values: np.ndarray) -> str:
    """Return float64 values as text; histograms are mostly zeros, so it is short."""
    return base64.b64encode(zlib.compress(values.astype("<f8").tobytes(), 1)).decode()


def unpacked(text: str, size: int) -> np.ndarray:
    """Return what `packed` was given.

    Raises:
        ValueError: it is no such text, or of another size.
    """
    try:
        values = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<f8")
    except zlib.error as error:
        raise ValueError(f"these are no packed numbers: {error}") from None
    if len(values) != size:
        raise ValueError(f"these are {len(values)} numbers, not {size}")
    return values.astype(np.float64)
