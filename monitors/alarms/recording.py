"""What a law saves: all that it knew at some time, and the cells that it was shown since.

All that it knows is megabytes, and changes with every cell. A cell is kilobytes. So the large part
is taken now and then, stays the same text until then, and is written once by whoever saves it. A
law goes on from it by being shown the cells again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from monitors.alarms.cell import Cell

MOST_CELLS: Final = 128
"""Cells after which all is taken anew: a restart shows so many again, within about 0.1 s."""
BLOCK: Final = 32_768
"""Bytes of cells from which on they are a text of their own, that does not change any more."""

_HEAD: Final = 4


class Recorded(NamedTuple):
    """What was read back.

    Attributes:
        known: numbers by name, as they were given.
        arrays: bytes, as they were given.
        cells: those since, each with the time that it was shown at.
    """

    known: Mapping[str, Any]
    arrays: bytes
    cells: list[tuple[Cell, float]]


class Recording:
    """Keeps what is saved of one law. Not thread-safe.

    Attributes:
        cells: how many there were since all was taken.
    """

    def __init__(self) -> None:
        self.cells = 0
        self._known: dict[str, Any] = {}
        self._arrays = ""
        self._blocks: list[str] = []
        self._open = bytearray()

    @property
    def full(self) -> bool:
        """Whether it is time to take all anew."""
        return self.cells >= MOST_CELLS

    def begin(self, known: Mapping[str, Any], arrays: bytes) -> None:
        """Keep all that the law knows now; the cells before are not needed any more.

        Args:
            known: numbers by name, JSON values.
            arrays: the rest.
        """
        self._known, self._arrays = dict(known), _text(arrays)
        self._blocks, self._open, self.cells = [], bytearray(), 0

    def add(self, cell: Cell, now: float) -> None:
        """Keep a cell that the law was shown."""
        head = np.array([cell.first, cell.last, cell.n, now])
        for array in (head, cell.counts, cell.sums, cell.squares):
            self._open += np.ascontiguousarray(array, "<f8").tobytes()
        self.cells += 1
        if len(self._open) >= BLOCK:
            self._blocks.append(_text(self._open))
            self._open = bytearray()

    def state(self) -> dict[str, Any]:
        """Return it as JSON values; long texts stay the same objects until they change."""
        return {
            "known": self._known,
            "arrays": self._arrays,
            "blocks": list(self._blocks),
            "open": _text(self._open),
        }


def read(state: Mapping[str, Any], streams: int) -> Recorded:
    """Return what is in a state.

    Args:
        state: what `Recording.state` returned.
        streams: of the law.

    Raises:
        ValueError, KeyError, TypeError: it is no such state, or of another number of streams.
    """
    cells = []
    for text in (*state["blocks"], state["open"]):
        numbers = np.frombuffer(_bytes(text), "<f8").astype(np.float64)
        if numbers.size % (_HEAD + 3 * streams):
            raise ValueError("the stored cells are of another number of streams")
        cells += [_cell(row) for row in numbers.reshape(-1, _HEAD + 3 * streams)]
    return Recorded(state["known"], _bytes(state["arrays"]), cells)


def _cell(numbers: np.ndarray) -> tuple[Cell, float]:
    first, last, n, now = numbers[:_HEAD].tolist()
    counts, sums, squares = np.split(numbers[_HEAD:], 3)
    cell = Cell(first=first, last=last, n=int(n), counts=counts, sums=sums, squares=squares)
    return cell, now


def _text(content: bytes | bytearray) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a stored text of a law is damaged") from error
