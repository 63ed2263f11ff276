"""Joins halves that come apart: a request and its answer, in either order, within a minute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final, Literal

import msgspec

Key = tuple[str, ...]
Side = Literal["request", "response"]

UNPAIRED: Final = "unpaired"
FULL: Final = "full"
DUPLICATE: Final = "duplicate"

_OVERHEAD: Final = 512
"""About the bytes that a half costs beside its body."""


class Half(msgspec.Struct, frozen=True):
    """One half: its body as it came, and when it happened, in seconds since the epoch."""

    body: bytes
    time: float | None = None


class Limits(msgspec.Struct, frozen=True):
    """What may wait for its partner.

    Attributes:
        halves: so many, and so many keys of pairs are remembered.
        bytes: of halves that wait.
        wait_s: for so long; a pair that comes once more within that time is a duplicate.
    """

    halves: int = 65_536
    bytes: int = 64 << 20
    wait_s: float = 60.0


class _Waiting(msgspec.Struct):
    side: Side
    half: Half
    size: int
    since: float


class Pairing:
    """Halves that wait for their partners. Belongs to one thread.

    Args:
        on_dropped: called with a reason, and how many halves are dropped for it.
        limits: what may wait.

    Attributes:
        bytes: of halves that wait.
    """

    def __init__(
        self, on_dropped: Callable[[str, int], None], limits: Limits | None = None
    ) -> None:
        self._on_dropped = on_dropped
        self._limits = limits or Limits()
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()
        self._paired: OrderedDict[Key, float] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """Return how many halves wait."""
        return len(self._waiting)

    def add(self, key: Key, side: Side, half: Half, now: float) -> tuple[Half, Half] | None:
        """Take in a half; return the request and the answer where it completes them.

        Args:
            key: what the two halves have in common, and no other has.
            side: which half it is.
            half: the half.
            now: monotonic seconds.
        """
        self.expire(now)
        known = self._waiting.get(key)
        if key in self._paired or (known is not None and known.side == side):
            self._on_dropped(DUPLICATE, 1)
            return None
        if known is not None:
            self._forget(key)
            self._remember(key, now)
            return (half, known.half) if side == "request" else (known.half, half)
        size = len(half.body) + sum(map(len, key)) + _OVERHEAD
        if size > self._limits.bytes:
            self._on_dropped(FULL, 1)
            return None
        # What has waited longest has the least hope.
        while self._waiting and (
            self.bytes + size > self._limits.bytes or len(self._waiting) >= self._limits.halves
        ):
            self._forget(next(iter(self._waiting)))
            self._on_dropped(FULL, 1)
        self._waiting[key] = _Waiting(side, half, size, now)
        self.bytes += size
        return None

    def expire(self, now: float) -> None:
        """Drop what has waited too long, and forget pairs that long ago."""
        before = now - self._limits.wait_s
        late = 0
        while self._waiting and next(iter(self._waiting.values())).since <= before:
            self._forget(next(iter(self._waiting)))
            late += 1
        if late:
            self._on_dropped(UNPAIRED, late)
        while self._paired and next(iter(self._paired.values())) <= before:
            self._paired.popitem(last=False)

    def next_expiry(self) -> float | None:
        """Return when the next half or pair is too old, in monotonic seconds; None: nothing is."""
        firsts = [each.since for each in islice(self._waiting.values(), 1)]
        firsts += islice(self._paired.values(), 1)
        return min(firsts) + self._limits.wait_s if firsts else None

    def clear(self) -> None:
        """Drop everything that waits."""
        if self._waiting:
            self._on_dropped(UNPAIRED, len(self._waiting))
        self._waiting.clear()
        self._paired.clear()
        self.bytes = 0

    def _forget(self, key: Key) -> None:
        self.bytes -= self._waiting.pop(key).size

    def _remember(self, key: Key, now: float) -> None:
        self._paired[key] = now
        if len(self._paired) > self._limits.halves:
            self._paired.popitem(last=False)
