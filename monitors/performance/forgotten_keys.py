"""Which predictions were stored once and are not any more, in a few bytes each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from monitors.performance.key_hashes import Key, hash_keys

__all__ = ["ForgottenKeys", "HashedKeys", "Key"]

Entry = Sequence[float]
"""What is saved: a number, of those with a label a time, and hashes."""

BLOCK: Final = 1 << 16
MOST_PARTS: Final = 256
_NONE: Final = np.empty(0, np.uint64)


class HashedKeys:
    """A bounded set of hashes with a time that each is not later than.

    Args:
        most: hashes remembered, to within a block; the oldest go first.

    Attributes:
        horizon: the latest time of those that are not remembered any more; -inf: all are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: deque[tuple[np.ndarray, float]] = deque()
        self._ordered = _NONE
        self._added: list[np.ndarray] = []  # since they were put in order
        self._count = 0
        self._latest = -math.inf
        self.horizon = -math.inf

    def __len__(self) -> int:
        """Number of hashes remembered."""
        return len(self._blocks) * BLOCK + len(self._recent())

    def add_all(self, hashes: np.ndarray, time: float = -math.inf) -> None:
        """Remember hashes, uint64 [n], the oldest first."""
        while len(hashes):
            part, hashes = np.split(hashes, [BLOCK - self._count])
            self._added.append(part)
            self._count += len(part)
            self._latest = max(self._latest, time)
            if len(self._added) == MOST_PARTS:
                self._added = [np.concatenate(self._added)]
            if self._count == BLOCK and len(self._recent()) == BLOCK:
                self._blocks.append((self._ordered, self._latest))
                self._ordered = _NONE
                self._count, self._latest = 0, -math.inf
                if len(self._blocks) * BLOCK > self._most:
                    self.horizon = max(self.horizon, self._blocks.popleft()[1])

    def _recent(self) -> np.ndarray:
        """Return the hashes that are in no block yet, each once, in order."""
        if self._added:
            ordered = np.sort(np.concatenate([self._ordered, *self._added]))
            # Each once, as `np.unique` does it by way of a table of hashes.
            self._ordered = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
            self._added, self._count = [], len(self._ordered)
        return self._ordered

    def has(self, hashes: np.ndarray) -> np.ndarray:
        """Return which of some hashes, uint64 [n], are remembered: bool [n]."""
        found = np.zeros(len(hashes), dtype=bool)
        for block in (*(block for block, _ in self._blocks), self._recent()):
            if len(block):
                at = np.minimum(block.searchsorted(hashes), len(block) - 1)
                found |= block[at] == hashes
        return found

    def parts(self) -> list[tuple[list[int], float]]:
        """Return all hashes in parts with their times, oldest first."""
        blocks = [(block.tolist(), time) for block, time in self._blocks]
        return [*blocks, (self._recent().tolist(), self._latest)]


class ForgottenKeys:
    """A set of keys as 64-bit hashes, so that a label can be told late from one that is early.

    Two of a million keys share a hash with a probability of 3e-8. The hashes do not depend on
    the process. Keys of predictions that had a label are remembered longer: whoever finds such a
    prediction again must not count it twice.

    Args:
        most: keys remembered of predictions without a label, to within a block; the oldest go
            first.
        most_labelled: the same of those with one.
    """

    def __init__(self, most: int = 1_000_000, most_labelled: int = 4_000_000) -> None:
        self._plain = HashedKeys(most)
        self._labelled = HashedKeys(most_labelled)
        self._most = most
        self._unsaved: list[np.ndarray] = []
        self._unsaved_labelled: list[tuple[float, np.ndarray]] = []
        self._saved = 0

    def __len__(self) -> int:
        """Number of keys remembered."""
        return len(self._plain) + len(self._labelled)

    @property
    def horizon(self) -> float:
        """Of predictions up to this time, in seconds, nobody knows whether they had a label."""
        return self._labelled.horizon

    def add_all(self, keys: Sequence[Key]) -> None:
        """Remember keys of predictions without a label, the oldest first."""
        hashes = hash_keys(keys)
        self._plain.add_all(hashes)
        self._unsaved.append(hashes)
        if len(self._unsaved) == MOST_PARTS:
            self._unsaved = [np.concatenate(self._unsaved)[-self._most :]]

    def add_labelled(self, keys: Sequence[Key], time: float) -> None:
        """Remember keys of predictions with a label, the oldest first.

        Args:
            keys: of the predictions.
            time: of the latest of them, in seconds since the epoch.
        """
        if keys:
            hashes = hash_keys(keys)
            self._labelled.add_all(hashes, time)
            self._unsaved_labelled.append((time, hashes))

    def among(self, keys: Sequence[Key]) -> set[Key]:
        """Return those of `keys` that were forgotten."""
        return self._among(keys, self._plain, self._labelled)

    def labelled(self, keys: Sequence[Key]) -> set[Key]:
        """Return those of `keys` that were forgotten and had a label."""
        return self._among(keys, self._labelled)

    def _among(self, keys: Sequence[Key], *sets: HashedKeys) -> set[Key]:
        if not keys or not any(map(len, sets)):
            return set()
        hashes = hash_keys(keys)
        found = np.any([each.has(hashes) for each in sets], axis=0)
        return {key for key, known in zip(keys, found.tolist(), strict=True) if known}

    def changes(self) -> list[Entry]:
        """Return what was added since the last call: entries of a number and hashes."""
        added, self._unsaved = self._unsaved, []
        labelled, self._unsaved_labelled = self._unsaved_labelled, []
        latest = np.concatenate([_NONE, *added])[-self._most :]
        changed: list[Entry] = [self._numbered(latest)] if len(latest) else []
        return changed + [self._numbered(hashes, float(time)) for time, hashes in labelled]

    def _numbered(self, hashes: np.ndarray, *time: float) -> Entry:
        self._saved += len(hashes)
        return [self._saved, *time, *hashes.tolist()]

    def entries(self) -> Iterator[Entry]:
        """Yield all keys as entries for `restore`, oldest first."""
        found: list[Entry] = [hashes for hashes, _ in self._plain.parts()]
        if math.isfinite(self.horizon):
            found.append([self.horizon])
        found += [[time, *hashes] for hashes, time in self._labelled.parts() if hashes]
        for number, part in enumerate(found, 1 - len(found)):
            yield [number, *part]

    def restore(self, entries: Iterable[Entry]) -> None:
        """Remember what `changes` or `entries` returned."""
        for number, *rest in entries:
            self._saved = max(self._saved, int(number))
            if rest and isinstance(rest[0], float):
                time, *hashes = rest
                if not hashes:
                    self._labelled.horizon = max(self._labelled.horizon, time)
                self._labelled.add_all(np.array(hashes, np.uint64), time)
            else:
                self._plain.add_all(np.array(rest, np.uint64))
