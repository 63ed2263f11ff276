"""What a process does every so many seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Periodic:
    """Does something again and again, in the loop that has started it.

    Args:
        interval_s: seconds between two times; the first comes one interval after the start.
        work: what is done; that it fails once does not keep it from the next time.
    """

    def __init__(self, interval_s: float, work: Callable[[], object]) -> None:
        self._interval_s = interval_s
        self._work = work
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._again)

    def stop(self) -> None:
        """Do it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self.start()  # first, for the work may raise
        self._work()
