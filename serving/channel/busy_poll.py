"""Staying awake for a moment, because to be woken takes longer than the work that follows.

A process that waits for its socket sleeps, and its processor with it; on a virtual machine to wake
both takes tens of microseconds. With one request at a time that is most of its latency, four times.
With many at a time somebody always has work, and staying awake would only take it from others.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

ANSWER: Final = 0
REQUEST: Final = 1
"""What is waited for: each is expected to take as long as it took the last time."""


class BusyPoll:
    """Keeps an event loop from sleeping while the next event is expected soon.

    It is expected soon where the last one of its kind was. So random traffic that leaves long
    pauses costs nothing, and one client that asks again and again is answered at once. Every turn
    gives the processor away to whoever else can use it, and with one processor only nobody stays
    awake. Belongs to the loop's thread.

    Args:
        seconds: the longest time to stay awake; 0 for not at all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._loop = asyncio.get_running_loop()
        self._took = [0.0, 0.0]
        self._what = REQUEST
        self._since = time.monotonic()
        self._waiting = True
        self._until = 0.0
        self._awake = False

    def met(self) -> None:
        """Note that what was waited for has come; `expect` does so where nobody has."""
        if self._waiting and self._seconds:
            self._waiting = False
            self._took[self._what] = time.monotonic() - self._since

    def expect(self, what: int, *, alone: bool) -> None:
        """Note that something has happened, and stay awake for what follows if that pays.

        Args:
            what: `ANSWER` or `REQUEST`, what comes next.
            alone: whether nothing else is under way.
        """
        if not self._seconds:
            return
        self.met()
        self._what, self._waiting = what, True
        self._since = now = time.monotonic()
        if not alone or self._took[what] > self._seconds:
            self._until = 0.0
            return
        self._until = now + self._seconds
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if time.monotonic() >= self._until:
            self._awake = False
            return
        os.sched_yield()
        self._loop.call_soon(self._turn)
