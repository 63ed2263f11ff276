"""Work in a thread that is never left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def to_the_end(function: Callable[..., None], *arguments: object) -> None:
    """Run in a thread; who is cancelled leaves only when it has ended, for it uses files."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
