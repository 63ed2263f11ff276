"""A bounded mapping that forgets what was not used for longest, at no cost for what is found."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(dict[Key, Value | None]):
    """Keeps what was used last: at least `size` entries, at most twice as many.

    Two generations instead of an order that every look-up would have to keep: once the younger is
    full it becomes the older, which goes when the younger is full again. Whatever is asked for in
    between moves to the younger. So a flood of new keys evicts only what nobody used while `size`
    of them came, and a look-up that finds its key is that of a plain dictionary.

    `recent[key]` is None for a key that is not kept; it is the one way to look a key up.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._older: dict[Key, Value | None] = {}

    def __missing__(self, key: Key) -> Value | None:
        """Look among the older ones."""
        value = self._older.pop(key, None)
        if value is not None:
            self[key] = value
        return value

    def __setitem__(self, key: Key, value: Value | None) -> None:
        """Keep a value, which must not be None."""
        if len(self) >= self._size and key not in self:
            self._older = dict(self)
            super().clear()
        super().__setitem__(key, value)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._older = {}

    @property
    def kept(self) -> int:
        """Entries of both generations."""
        return len(self) + len(self._older)
