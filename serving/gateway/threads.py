"""Work on bodies that would hold up the loop, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Body = TypeVar("Body")
Result = TypeVar("Result")


async def in_thread(work: Callable[[Body], Result], body: Body) -> Result:
    """Return `work(body)`, computed in a thread.

    Work that is given up before a thread has begun with it lets go of the body at once. The pool
    forgets it only when a thread comes to it, and clients may ask for more, and leave, faster.
    """
    held = [body]
    del body
    try:
        return await asyncio.to_thread(lambda: work(held.pop()))
    finally:
        held.clear()
