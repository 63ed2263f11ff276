"""Staying awake for a moment, because to be woken takes longer than the work that follows.

A process that waits for its socket sleeps, and its processor with it; on a virtual machine to wake
both takes tens of microseconds. With one request at a time that is most of its latency, four times.
"""

from __future__ import annotations

import asyncio
import os
import time


class BusyPoll:
    """Keeps an event loop from sleeping until some time after the last event.

    Every turn gives the processor away to whoever else can use it. Belongs to the loop's thread.

    Args:
        seconds: how long to stay awake; 0 for not at all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._awake = False

    def extend(self) -> None:
        """Stay awake from now on for the time."""
        if not self._seconds:
            return
        self._until = time.monotonic() + self._seconds
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if time.monotonic() >= self._until:
            self._awake = False
            return
        os.sched_yield()
        self._loop.call_soon(self._turn)
