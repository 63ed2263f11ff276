"""Lines of text in UTF-8, of bounded length, so that every fault has the number of its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from serving.cli.label_files.rows import WrongFile

LONGEST: Final = 256 << 10
"""Bytes of a line. What has no line ends at all would otherwise be read into memory whole."""


class Lines:
    """The lines of a stream.

    Args:
        name: of the file, for errors.
        stream: where they are read; a byte order mark at its start is left out.

    Attributes:
        number: of the line that was read last, from 1.
        read: bytes so far.
    """

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self.number = 0
        self.read = 0
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        """Yield the lines with their ends.

        Raises:
            WrongFile: a line is too long or not UTF-8, or the file cannot be read.
        """
        while line := self._next():
            self.number += 1
            self.read += len(line)
            if len(line) > LONGEST:
                raise self.wrong(
                    f"is longer than {LONGEST >> 10} KiB; a line holds one row, so check what ends "
                    "the lines"
                )
            try:
                text = line.decode()
            except UnicodeDecodeError:
                raise self.wrong("is not UTF-8; save the file in that encoding") from None
            yield text.removeprefix("\ufeff") if self.number == 1 else text

    def wrong(self, problem: str) -> WrongFile:
        """Return the error for the line that was read last."""
        return WrongFile(f"{self.name}, line {self.number} {problem}")

    def _next(self) -> bytes:
        try:
            return self._stream.readline(LONGEST + 1)
        except OSError as error:
            raise WrongFile(
                f"{self.name}: {error.strerror or error} after line {self.number}"
            ) from None
