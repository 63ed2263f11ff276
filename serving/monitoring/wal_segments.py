"""Files of the monitor's write-ahead log: how a record looks, and reading what a process left.

A segment `<name>.<number>.wal` begins with `MAGIC`. A record is a little-endian uint32 (bytes of
the frame), a uint32 (CRC-32 of all that follows), a float64 (seconds since the epoch when the
message was taken in), and the frame as it came over the channel (`serving/channel/frames.py`).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

MAGIC: Final = b"VIGILWAL1\n"
_HEAD: Final = struct.Struct("<IId")
_TIME: Final = struct.Struct("<d")

Frame = bytes | memoryview


class Record(NamedTuple):
    """One message: when it was taken in, and its frame."""

    now: float
    frame: Frame


class Torn(NamedTuple):
    """The end of a segment that is no record: its writer was killed, or the disk was full."""

    path: Path
    bytes: int


def head(record: Record) -> bytes:
    """Return what stands before a record's frame."""
    checksum = zlib.crc32(record.frame, zlib.crc32(_TIME.pack(record.now)))
    return _HEAD.pack(len(record.frame), checksum, record.now)


def path_of(folder: Path, name: str, number: int) -> Path:
    """Return where a segment lies."""
    return folder / f"{name}.{number}.wal"


def segments(folder: Path, name: str) -> dict[int, Path]:
    """Return the segments that are there by number, in their order."""
    pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.wal")
    found = {int(match[1]): path for path in folder.glob(f"{name}.*.wal")
             if (match := pattern.fullmatch(path.name))}  # fmt: skip
    return dict(sorted(found.items()))


def records(path: Path) -> Iterator[Record | Torn]:
    """Yield the records of a segment; if its end is none, that last.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size, at = path.stat().st_size, len(MAGIC)
        if file.read(at) != MAGIC:
            yield Torn(path, size)
            return
        while at < size:
            record = None
            start = file.read(_HEAD.size)
            if len(start) == _HEAD.size:
                length, _checksum, now = _HEAD.unpack(start)
                if length <= size - at - _HEAD.size:
                    record = Record(now, file.read(length))
            if record is None or head(record) != start:
                yield Torn(path, size - at)
                return
            at += _HEAD.size + len(record.frame)
            yield record
