"""Many entries that change little by little: a file that grows, and a shorter one now and then.

A line holds what changed since the line before: `<CRC-32> [[owner, entries], ...]`. An entry
begins with its number; it replaces the earlier entry of its owner and number, or, when the number
stands alone, takes it away. `null` instead of entries takes away all that an owner has.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from serving.monitoring.state_file import UnreadableState, open_private

Entry = Sequence[Any]
Changes = Sequence[tuple[str, Sequence[Entry] | None]]

_decode = msgspec.json.Decoder(list[tuple[str, list[list[Any]] | None]]).decode


def to_line(changes: Changes) -> bytes:
    """Return changes as a line of the file."""
    text = msgspec.json.encode(changes)
    return b"%08x %s\n" % (zlib.crc32(text), text)


class Journal:
    """One file that grows.

    Args:
        path: the file; only the owner can read it.
        size: bytes of it that are kept.

    Attributes:
        path: the file.
        size: its length in bytes, of complete lines.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self.size = size
        self._file = open_private(path, size)

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines; they are on disk when this returns.

        Raises:
            OSError: some of them were not written; the file must not be used any more.
        """
        for line in lines:
            self._file.write(line)
            self.size += len(line)
        self._file.flush()
        if lines:
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_journal(path: Path, size: int) -> dict[str, list[Entry]]:
    """Return the entries by owner of the first `size` bytes, in the order of their numbers.

    Raises:
        UnreadableState: the file is missing, damaged or shorter than that.
    """
    found: dict[str, dict[int, Entry]] = {}
    try:
        for changes in journal_changes(path, size):
            for owner, entries in changes:
                _apply(found.setdefault(owner, {}), entries)
    except OSError as error:
        raise UnreadableState(str(error.strerror)) from None
    except (IndexError, TypeError) as error:
        raise UnreadableState(f"it is damaged: {error}") from None
    return {owner: [kept[number] for number in sorted(kept)] for owner, kept in found.items()}


def journal_changes(path: Path, size: int | None = None) -> Iterator[Changes]:
    """Yield what each line of a journal holds, also what a later one replaces.

    Args:
        path: the file.
        size: bytes of it that are read; None: all.

    Raises:
        UnreadableState: the file is damaged, or shorter than that.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        while (size is None or size > 0) and (line := file.readline()):
            size = None if size is None else size - len(line)
            try:
                yield _read(line)
            except (ValueError, TypeError) as error:
                raise UnreadableState(f"it is damaged: {error}") from None
    if size:
        raise UnreadableState("it is damaged: it is cut short")


def _read(line: bytes) -> Changes:
    if int(line[:8], 16) != zlib.crc32(line[9:-1]):
        raise ValueError("a checksum is wrong")
    return _decode(line[9:])


def _apply(known: dict[int, Entry], entries: Sequence[Entry] | None) -> None:
    if entries is None:
        known.clear()
        return
    for entry in entries:
        if len(entry) == 1:
            known.pop(entry[0], None)
        else:
            known[entry[0]] = entry
