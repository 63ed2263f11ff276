"""A bounded mapping that forgets what was not used for longest, at no cost for what is found."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(dict[Key, Value | None]):
    """Keeps what was used last: at least `size` entries that were asked for again.

    What is new waits apart until it is asked for, and pushes out only what is new itself: whoever
    sends nothing twice takes nothing from those who do (the idea of 2Q: Johnson and Shasha, VLDB
    1994). Of what was asked for there are two generations instead of an order that every look-up
    would have to keep: once the younger is full it becomes the older, and what is asked for there
    moves back. So a look-up that finds its key is that of a plain dictionary.

    `recent[key]` is None for a key that is not kept; it is the one way to look a key up.

    Args:
        size: entries in each of the three parts, at most.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._older: dict[Key, Value | None] = {}
        self._new: dict[Key, Value | None] = {}

    def __missing__(self, key: Key) -> Value | None:
        """Look among the others, and keep what is there with what was asked for again."""
        value = self._new.pop(key, None)
        if value is None:
            value = self._older.pop(key, None)
        if value is not None:
            if len(self) >= self._size:
                self._older = dict(self)
                super().clear()
            super().__setitem__(key, value)
        return value

    def __setitem__(self, key: Key, value: Value | None) -> None:
        """Keep a value, which must not be None."""
        if key in self:
            super().__setitem__(key, value)
            return
        self._older.pop(key, None)
        self._new[key] = value
        if len(self._new) > self._size:
            del self._new[next(iter(self._new))]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._older = {}
        self._new = {}

    @property
    def kept(self) -> int:
        """Entries of all parts."""
        return len(self) + len(self._older) + len(self._new)
