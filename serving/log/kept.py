"""What was read of files and is kept in memory, within a bound: what was used last stays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key.

    Args:
        read: makes the value of a key; also returns its bytes of memory.
        most_bytes: of what is kept; one value is, whatever its size.
    """

    def __init__(self, read: Callable[[K], tuple[V, int]], most_bytes: int) -> None:
        self._read = read
        self._most = most_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Number of values that are kept."""
        return len(self._kept)

    def get(self, key: K) -> V:
        """Return the value of a key; raises what `read` raises."""
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known[0]
        value, size = self._kept[key] = self._read(key)
        self._bytes += size
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1]
        return value
