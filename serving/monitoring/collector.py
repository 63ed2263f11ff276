"""When the garbage collector of a monitor runs: seldom, since it holds much that is no garbage."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

INTERVAL_S: Final = 60.0
_THRESHOLDS: Final = (50_000, 20, 20)
"""Objects that are made and kept before the youngest are looked at, and how many times this happens
before older ones are."""


async def collect_seldom(interval_s: float = INTERVAL_S) -> None:
    """Have the collector run by time, and otherwise for tens of thousands of objects; never ends.

    A push of a thousand labels makes several thousand objects, nearly all of which are freed
    without it. By default it runs a dozen times a push, for a third of the time that labels take.

    Args:
        interval_s: seconds between two full collections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    while True:
        await asyncio.sleep(interval_s)
        gc.collect()
