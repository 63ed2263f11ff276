"""Calls under way, and waiting for them where there is a task that can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from serving.errors import VigilError

T = TypeVar("T")


class Asked(Protocol):
    """A call under way."""

    def cancel(self) -> None:
        """Give it up: nobody is told any more, and the server may stop working on it."""


async def awaited(ask: Callable[[Callable[[T | VigilError], None]], Asked]) -> T:
    """Ask, and wait for what is told; who stops waiting gives it up."""
    told: asyncio.Future[T | VigilError] = asyncio.get_running_loop().create_future()

    def settle(outcome: T | VigilError) -> None:
        if not told.done():
            told.set_result(outcome)

    asked = ask(settle)
    try:
        outcome = await told
    finally:
        asked.cancel()
    if isinstance(outcome, VigilError):
        raise outcome
    return outcome
