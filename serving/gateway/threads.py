"""Threads beside the loop: work on bodies that would hold it up, and how soon they let it on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final, TypeVar

Body = TypeVar("Body")
Result = TypeVar("Result")

HANDOVER_S: Final = 0.0005
"""A thread lets another one have the interpreter after it; Python's default is ten times as long.

The loop gives the interpreter away whenever it asks for events. While a thread encodes spans, each
turn of the loop waits for it so long.
"""


def hand_over_soon() -> None:
    """Have threads of this process, which must be the gateway's own, let each other on sooner."""
    sys.setswitchinterval(HANDOVER_S)


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
