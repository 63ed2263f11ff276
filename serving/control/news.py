"""Waking whoever waits for something to change."""

from __future__ import annotations

import asyncio


class News:
    """Wakes all who wait, each time it is told. Belongs to one loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Wake everybody who waits now."""
        told, self._next = self._next, asyncio.Event()
        told.set()

    async def wait(self) -> None:
        """Return at the next `tell`."""
        await self._next.wait()

    async def within(self, timeout_s: float) -> None:
        """Return at the next `tell`; return also when none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._next.wait()
        except TimeoutError:
            return
