"""Ids of records: UUIDv7 that only grow within a process (RFC 9562, sections 5.7 and 6.2).

Ids that requests are given (`serving/protocol/ids.py`) are text and in random order within a
millisecond; whoever keeps records must be able to tell which one came last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

_REFILL: Final = 512
_COUNTER_BITS: Final = 12
_VERSION: Final = 7 << _COUNTER_BITS


class RecordIds:
    """Makes ids; belongs to one thread.

    The 12 bits behind the version count within a millisecond from a random start in their lower
    half (RFC 9562, 6.2, method 1); 62 bits are random. When they run out, or the clock goes back,
    the time in the ids runs ahead of the clock until that has caught up.

    Args:
        clock_ns: nanoseconds since the epoch.
        random: returns so many random bytes.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.time_ns,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock_ns = clock_ns
        self._random = random
        self._millisecond = -1
        self._head = 0
        self._last = 0
        self._tails: list[bytes] = []

    def new(self) -> bytes:
        """Return a new id, 16 bytes; it sorts behind every id before it."""
        millisecond = self._clock_ns() // 1_000_000
        if millisecond > self._millisecond:
            self._begin(millisecond)
        elif self._head == self._last:
            self._begin(self._millisecond + 1)
        else:
            self._head += 1
        tails = self._tails or self._refill()
        return self._head.to_bytes(8, "big") + tails.pop()

    def forget(self) -> None:
        """Forget random bytes that were drawn: a forked child must not have its parent's."""
        self._tails.clear()

    def _begin(self, millisecond: int) -> None:
        seed = (self._tails or self._refill()).pop()
        self._millisecond = millisecond
        first = (millisecond & 0xFFFF_FFFF_FFFF) << 16 | _VERSION
        self._head = first | int.from_bytes(seed[-2:], "big") & 0x7FF
        self._last = first | 0xFFF

    def _refill(self) -> list[bytes]:
        drawn = self._random(8 * _REFILL)
        self._tails = [
            # The variant: the two highest bits are 10.
            bytes([drawn[at] & 0x3F | 0x80]) + drawn[at + 1 : at + 8]
            for at in range(0, 8 * _REFILL, 8)
        ]
        return self._tails


_ids: Final = RecordIds()
new_record_id: Final = _ids.new
os.register_at_fork(after_in_child=_ids.forget)
