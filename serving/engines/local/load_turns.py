"""Bounds how many replicas load their models at once: more than there are cores only delay all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
from typing import Final

LONGEST_S: Final = 60.0
"""Whoever loads for longer counts no more, so that it holds up no other one for ever."""


class LoadTurns:
    """Admits whoever wants to load in the order in which they ask, required models first.

    Args:
        at_once: how many may load at once; None takes the cores that this process may use.
        longest_s: for how long one counts that neither loads nor ends.
    """

    def __init__(self, at_once: int | None = None, longest_s: float = LONGEST_S) -> None:
        self._at_once = at_once or len(os.sched_getaffinity(0))
        self._longest_s = longest_s
        self._loading: dict[str, asyncio.TimerHandle] = {}
        self._waiting: list[tuple[bool, int, str, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def enter(self, ident: str, *, required: bool) -> None:
        """Return once `ident` may load; `leave` must follow, also where it is cancelled after."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not required, next(self._numbers), ident, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(ident)
            raise

    def leave(self, ident: str) -> None:
        """`ident` has loaded, or ended; nothing happens if it did not load."""
        timer = self._loading.pop(ident, None)
        if timer is not None:
            timer.cancel()
            self._admit()

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._loading) < self._at_once:
            _, _, ident, turn = heapq.heappop(self._waiting)
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                self._loading[ident] = loop.call_later(self._longest_s, self.leave, ident)
