"""A bounded memory of what was used lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Recent(Generic[K, T]):
    """Keeps what was used last, in two parts: what was used again, and what is new.

    New entries only push out each other, so that whoever sends nothing twice takes nothing from
    those who do (the idea of 2Q: Johnson and Shasha, VLDB 1994).

    Args:
        most: entries in each part.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: OrderedDict[K, T] = OrderedDict()
        self._used: OrderedDict[K, T] = OrderedDict()

    def get(self, key: K) -> T | None:
        """Return what is kept for `key`."""
        found = self._used.get(key)
        if found is not None:
            self._used.move_to_end(key)
            return found
        found = self._new.pop(key, None)
        if found is not None:
            self._used[key] = found
            if len(self._used) > self._most:
                self._used.popitem(last=False)
        return found

    def put(self, key: K, value: T) -> None:
        """Keep something new."""
        self._new[key] = value
        if len(self._new) > self._most:
            self._new.popitem(last=False)

    def __len__(self) -> int:
        return len(self._new) + len(self._used)
