"""A gateway's collector: what is left in a cycle all the same goes in time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from serving.upkeep.collector import Collector


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def as_before() -> Iterator[None]:
    """The collector of the process that tests has its settings back at the end.

    What was frozen stays so: the rest of the session is among it, and looking through that takes
    more than a second.
    """
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.enable()


@pytest.mark.usefixtures("as_before")
async def test_a_cycle_is_freed_in_time_however_few_objects_are_made() -> None:
    kept = [Cycle() for _ in range(1000)]
    frozen = gc.get_freeze_count()
    collector = Collector(0.01)
    collector.start()
    gc.disable()  # so that nothing but time brings it about
    for _ in range(2):  # again and again
        left = weakref.ref(Cycle())
        async with asyncio.timeout(60):
            while left() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    collector.stop()
    assert gc.get_freeze_count() >= frozen + len(kept)
    left = weakref.ref(Cycle())
    await asyncio.sleep(0.05)
    assert left() is not None
