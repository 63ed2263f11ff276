"""Where in a part an id stands: a small file beside every part.

It holds one entry for each run of rows with the same id in a row group: 32 bits of a hash, sorted,
and the run's first row. Two such tables stand behind each other: of own ids, and of clients' ids. A
hash that is met by chance costs a look into the part, so hashes need not be good. It is 8 to 16
bytes a row.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.log.id_hashes import crc_pair, crc_pairs

_OWN_BYTES: Final = 16
_ENTRY: Final = np.dtype("<u4")
Index = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Hashes and rows of own ids, then of clients' ids."""


def make_index(ids: Any, client_ids: Any, row_group: int) -> bytes:
    """Return the index of a part.

    Args:
        ids, client_ids: its columns, Arrow arrays [n]; no ids where its rows have none.
        row_group: rows of its row groups.
    """
    own = _words(ids)
    starts = _starts(np.any(own[1:] != own[:-1], axis=1), row_group)[: len(own)]
    client_starts = _starts(_changes(client_ids), row_group)[: len(client_ids)]
    hashes = crc_pairs(client_ids.take(pa.array(client_starts))) >> np.uint64(32)
    parts = (*_sorted(own[starts, 3], starts), *_sorted(hashes, client_starts))
    header = np.array([len(starts), len(client_starts)], _ENTRY)
    return b"".join(part.astype(_ENTRY).tobytes() for part in (header, *parts))


def read_index(content: bytes | mmap.mmap) -> Index:
    """Return views on an index.

    Raises:
        ValueError: it is damaged.
    """
    words = np.frombuffer(content, _ENTRY)
    if len(words) < 2 or len(words) != 2 + 2 * (int(words[0]) + int(words[1])):
        raise ValueError("the index is cut short")
    own, client = int(words[0]), int(words[1])
    ends = np.cumsum([2, own, own, client, client])
    first, second, third, fourth = (words[a:b] for a, b in pairwise(ends))
    return first, second, third, fourth


def rows_of(index: Index, *, own: bytes | None, client: str) -> list[int]:
    """Return first rows of runs that may have the own id or the client's id, sorted."""
    found: set[int] = set()
    if own is not None:
        found.update(_find(index[0], index[1], hash_own(own)))
    found.update(_find(index[2], index[3], hash_client(client)))
    return sorted(found)


def rows_of_clients(index: Index, clients: Iterable[str]) -> list[int]:
    """Return first rows of runs that may have one of the clients' ids, sorted."""
    hashes, rows = index[2], index[3]
    wanted = np.array(sorted({hash_client(client) for client in clients}), np.uint64)
    first, last = (np.searchsorted(hashes, wanted, side) for side in ("left", "right"))
    found = [rows[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True) if a < b]
    return sorted(set(np.concatenate(found).tolist())) if found else []


def hash_own(own: bytes) -> int:
    """Hash an own id: its last 32 bits are random."""
    return int.from_bytes(own[12:], "little")


def hash_client(client: str) -> int:
    """Hash a client's id."""
    return crc_pair(client) >> 32


def _words(ids: Any) -> np.ndarray:
    """Return own ids as words of 32 bits, [n, 4]."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [] if ids is None else [ids]
    words = _OWN_BYTES // 4
    parts = [
        np.frombuffer(chunk.buffers()[1], _ENTRY)[words * chunk.offset :][: words * len(chunk)]
        for chunk in chunks
    ]
    return np.concatenate([np.empty(0, _ENTRY), *parts]).reshape(-1, words)


def _changes(texts: Any) -> np.ndarray:
    """Return whether texts 1 to n - 1 differ from those before them, bool [n - 1]."""
    if len(texts) < 2:
        return np.empty(0, bool)
    changed: np.ndarray = np.asarray(pc.not_equal(texts[1:], texts[:-1]))
    return changed


def _find(hashes: np.ndarray, rows: np.ndarray, wanted: int) -> list[int]:
    first, last = np.searchsorted(hashes, [wanted, wanted + 1])
    return [int(row) for row in rows[first:last]]


def _starts(changes: np.ndarray, row_group: int) -> np.ndarray:
    """Return where runs of n rows start, from whether rows 1 to n - 1 differ from those before."""
    starts = np.concatenate([[True], changes])
    starts[::row_group] = True
    return np.flatnonzero(starts)


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]
