"""A body that comes in pieces: joined once at its end, without an object for every byte."""

from __future__ import annotations

from typing import Final

_SOME: Final = 1024


class BodyBuffer:
    """Collects pieces; an object for each may weigh forty times what is in it."""

    __slots__ = ("_pieces", "_whole")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._whole: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Take in one more."""
        self._pieces.append(piece)
        if len(self._pieces) == _SOME:
            self._whole.append(b"".join(self._pieces))
            self._pieces.clear()

    def join(self) -> bytes:
        """Return all of them in one."""
        return b"".join((*self._whole, *self._pieces))
