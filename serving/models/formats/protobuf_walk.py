"""Goes through a protobuf message field by field, without its description and without trust.

What is not asked for is skipped, so a hostile file costs neither memory nor much time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

MOST_FIELDS: Final = 1 << 20
"""Fields that are looked at: more than large graphs have nodes and weights."""
MOST_NAME: Final = 1 << 10

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Damaged(Exception):
    """The bytes are no protobuf of a graph; the message says why."""


class Field(NamedTuple):
    """One field of a message: its number, and its value if that is a varint, else its place."""

    number: int
    value: int | None
    start: int
    end: int


class Walk:
    """Goes through messages of a file, whose fields it may look at only so often."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MOST_FIELDS

    def whole(self) -> Field:
        """Return the message that the whole file is."""
        return Field(0, None, 0, self._file.seek(0, os.SEEK_END))

    def inside(self, message: Field, *numbers: int) -> Iterator[Field]:
        """Yield the fields of these `numbers` in `message`, in their order.

        Raises:
            Damaged: the message is none, or the file has too many fields.
        """
        if message.value is not None:
            raise Damaged("a number stands where there should be a part")
        place = message.start
        while place < message.end:
            self._left -= 1
            if self._left < 0:
                raise Damaged("it has too many parts")
            self._file.seek(place)
            field = self._next(message.end)
            place = field.end
            if field.number in numbers:
                yield field

    def text(self, field: Field) -> str:
        """Return the text of `field`.

        Raises:
            Damaged: it is too long for a name, or no UTF-8.
        """
        size = field.end - field.start
        if field.value is not None or size > MOST_NAME:
            raise Damaged("a name is too long")
        self._file.seek(field.start)
        try:
            return self._file.read(size).decode()
        except UnicodeDecodeError:
            raise Damaged("a name is no text") from None

    def _next(self, end: int) -> Field:
        tag = self._varint()
        number, wire = tag >> 3, tag & 7
        value = self._varint() if wire in (_VARINT, _BYTES) else 0
        start = self._file.tell()
        size = {_VARINT: 0, _FIXED64: 8, _FIXED32: 4, _BYTES: value}.get(wire)
        if size is None or not number or start + size > end:
            raise Damaged("a part ends where it should not")
        return Field(number, value if wire == _VARINT else None, start, start + size)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise Damaged("it is cut short")
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value & ((1 << 64) - 1)
        raise Damaged("a number has no end")
