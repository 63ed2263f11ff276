"""Which predictions were stored once and are not any more, in a few bytes each."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

Key = tuple[str, int]
"""A client's request id, and the row inside that request."""

BLOCK: Final = 1 << 16


class ForgottenKeys:
    """A set of keys as 64-bit hashes, so that a label can be told late from one that is early.

    Two of a million keys share a hash with a probability of 3e-8. The hashes do not depend on
    the process.

    Args:
        most: keys remembered, to within a block; the oldest go first.
    """

    def __init__(self, most: int = 1_000_000) -> None:
        self._most = most
        self._blocks: deque[np.ndarray] = deque()
        self._recent: set[int] = set()
        self._unsaved: list[int] = []
        self._saved = 0

    def __len__(self) -> int:
        """Number of keys remembered."""
        return len(self._blocks) * BLOCK + len(self._recent)

    def add_all(self, keys: Sequence[Key]) -> None:
        """Remember keys, the oldest first."""
        hashes = _hashes(keys)
        self._take(hashes)
        self._unsaved += hashes[: max(self._most - len(self._unsaved), 0)]

    def among(self, keys: Sequence[Key]) -> set[Key]:
        """Return those of `keys` that were forgotten."""
        if not keys or not len(self):
            return set()
        hashes = _hashes(keys)
        found = np.array([each in self._recent for each in hashes])
        wanted = np.array(hashes, dtype=np.uint64)
        for block in self._blocks:
            at = np.minimum(block.searchsorted(wanted), len(block) - 1)
            found |= block[at] == wanted
        return {key for key, known in zip(keys, found.tolist(), strict=True) if known}

    def changes(self) -> list[list[int]]:
        """Return what was added since the last call: at most one entry, a number and hashes."""
        added, self._unsaved = self._unsaved, []
        self._saved += len(added)
        return [[self._saved, *added]] if added else []

    def entries(self) -> Iterator[list[int]]:
        """Yield all keys as entries for `restore`, oldest first."""
        parts = [block.tolist() for block in self._blocks]
        for number, part in enumerate([*parts, list(self._recent)], -len(parts)):
            yield [number, *part]

    def restore(self, entries: Iterable[Sequence[int]]) -> None:
        """Remember what `changes` or `entries` returned."""
        for number, *hashes in entries:
            self._saved = max(self._saved, number)
            self._take(hashes)

    def _take(self, hashes: Sequence[int]) -> None:
        taken = 0
        while taken < len(hashes):
            before = taken
            taken += BLOCK - len(self._recent)
            self._recent.update(hashes[before:taken])
            if len(self._recent) == BLOCK:
                self._blocks.append(np.sort(np.array(list(self._recent), dtype=np.uint64)))
                self._recent = set()
                if len(self._blocks) * BLOCK > self._most:
                    self._blocks.popleft()


def _hashes(keys: Sequence[Key]) -> list[int]:
    hashed = [
        hashlib.blake2b(f"{index}:{ident}".encode("utf-8", "surrogatepass"), digest_size=8)
        for ident, index in keys
    ]
    digests = b"".join([each.digest() for each in hashed])
    found: list[int] = np.frombuffer(digests, dtype="<u8").tolist()
    return found
