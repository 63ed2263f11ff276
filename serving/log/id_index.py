"""Where in a part an id stands: a small file beside every part.

It holds one entry for each run of rows with the same id in a row group: 32 bits of a hash, sorted,
and the run's first row. Two such tables stand behind each other: of own ids, and of clients' ids. A
hash that is met by chance costs a look into the part, so hashes need not be good. It is 8 to 16
bytes a row.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np

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
    joined = b"" if ids is None else b"".join(ids.to_pylist())
    own = np.frombuffer(joined, _ENTRY).reshape(-1, _OWN_BYTES // 4)
    starts = _starts(np.any(own[1:] != own[:-1], axis=1), row_group)[: len(own)]
    texts = np.empty(len(client_ids), object)
    texts[:] = client_ids.to_pylist()
    client_starts = _starts(texts[1:] != texts[:-1], row_group)
    hashes = np.fromiter(
        (hash_client(text) for text in texts[client_starts]), _ENTRY, len(client_starts)
    )
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
    return zlib.crc32(client.encode("utf-8", "surrogatepass"))


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
