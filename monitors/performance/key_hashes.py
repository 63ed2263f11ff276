"""64-bit hashes of keys of predictions, of whole columns at once; equal in every process.

Ids of usual length are hashed by the multilinear family (Lemire and Kaser (2014), "Strongly
universal string hashing is fast"): a sum of code points times constants, then mixed. Longer ones
are hashed one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np

Key = tuple[str, int]
"""A client's request id, and the row inside that request."""

LONGEST: Final = 64
"""Characters of an id that is hashed with others: one that is long must not make all others so."""


def hash_keys(keys: Sequence[Key]) -> np.ndarray:
    """Return a hash of each of n keys, uint64 [n]."""
    idents = [ident for ident, _ in keys]
    lengths = np.fromiter(map(len, idents), np.int64, len(idents))
    index = np.fromiter((at for _, at in keys), np.int64, len(idents))
    if not len(idents) or lengths.max() <= LONGEST:
        return _short(idents, lengths, index)
    hashes = np.empty(len(idents), np.uint64)
    short = lengths <= LONGEST
    chosen = [idents[at] for at in np.flatnonzero(short).tolist()]
    hashes[short] = _short(chosen, lengths[short], index[short])
    for at in np.flatnonzero(~short).tolist():
        hashes[at] = _long(keys[at])
    return hashes


def _short(idents: Sequence[str], lengths: np.ndarray, index: np.ndarray) -> np.ndarray:
    if not len(idents):
        return np.empty(0, np.uint64)
    # Whatever the longest is: places behind the end of an id hold 0 and add nothing.
    width = max(int(lengths.max()), 1)
    points = np.array(idents, f"<U{width}").view(np.uint32).reshape(len(idents), width)
    hashes = points.astype(np.uint64) @ _POINTS[:width]
    hashes += lengths.astype(np.uint64) * _LENGTH
    hashes += index.astype(np.uint64) * _INDEX
    return _mixed(hashes)


def _long(key: Key) -> int:
    ident, index = key
    text = f"{index}:{ident}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _mixed(words: np.ndarray) -> np.ndarray:
    """Spread what differs over all bits, one to one (the finalizer of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed


def _constants(count: int) -> np.ndarray:
    """Return odd constants without a pattern: SplitMix64 (Steele, Lea and Flood, 2014)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return _mixed(steps) | np.uint64(1)


_POINTS: Final = _constants(LONGEST + 2)
_LENGTH, _INDEX = _POINTS[LONGEST], _POINTS[LONGEST + 1]
