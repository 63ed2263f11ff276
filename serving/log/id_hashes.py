"""CRC-32 of many clients' ids at once.

A CRC is linear: that of a text is the XOR of what each byte adds where it stands. So texts of one
length, as clients send them, are looked up column by column in a table; a call for each would take
most of the time in which a stream becomes a part.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

_LONGEST: Final = 64
"""Bytes of an id that has a table; one of them takes 2 kB a byte."""
_FEWEST: Final = 64
"""Ids of one length for which a table is worth it."""
_AT_ONCE: Final = 4096


def crc_pair(ident: str) -> int:
    """Return 64 bits: the CRC-32 of an id's bytes, and that of its bytes backwards.

    Together they tell apart what either does not.
    """
    text = ident.encode("utf-8", "surrogatepass")
    return _crc_pair(text)


def crc_pairs(ids: Any) -> np.ndarray:
    """Return the `crc_pair` of each of n ids, uint64 [n].

    Args:
        ids: Arrow strings [n], chunked or not, none of them null.
    """
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    return np.concatenate([np.empty(0, np.uint64), *map(_of_chunk, chunks)])


def _of_chunk(ids: Any) -> np.ndarray:
    _, offsets, content = ids.buffers()
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    content = b"" if content is None else content
    found = np.empty(len(ids), np.uint64)
    starts, lengths = ends[:-1], np.diff(ends)
    for length, count in zip(*np.unique(lengths, return_counts=True), strict=True):
        rows = np.flatnonzero(lengths == length)
        if count < _FEWEST or length > _LONGEST or not length:
            view = memoryview(content)
            for row in rows.tolist():
                found[row] = _crc_pair(bytes(view[ends[row] : ends[row + 1]]))
        else:
            _add_alike(found, rows, np.frombuffer(content, np.uint8), starts, int(length))
    return found


def _add_alike(
    found: np.ndarray, rows: np.ndarray, content: np.ndarray, starts: np.ndarray, length: int
) -> None:
    """Fill in the pairs of rows whose ids have one length."""
    table, zeros = _table(length)
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        pairs = np.full(len(some), zeros, np.uint64)
        begin = starts[some]
        for place in range(length):
            pairs ^= table[place].take(content[begin + place])
        found[some] = pairs


@lru_cache(maxsize=16)
def _table(length: int) -> tuple[np.ndarray, int]:
    """Return what each byte adds at each place, uint64 [length, 256], and the pair of zeros."""
    zeros = zlib.crc32(bytes(length))
    adds = np.zeros((length, 256), np.uint64)
    text = bytearray(length)
    for bit in range(8):
        for place in range(length):
            text[place] = 1 << bit
            adds[place, 1 << bit] = zlib.crc32(text) ^ zeros
            text[place] = 0
        # What has this bit as the highest: this bit, and any of the lower ones.
        adds[:, (1 << bit) : (2 << bit)] = adds[:, : 1 << bit] ^ adds[:, [1 << bit]]
    return adds << np.uint64(32) | adds[::-1], zeros << 32 | zeros


def _crc_pair(text: bytes) -> int:
    return zlib.crc32(text) << 32 | zlib.crc32(text[::-1])
