"""A monitor's collector: it runs seldom, and what is left in a cycle goes in time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from serving.monitoring.collector import collect_seldom


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def as_before() -> Iterator[None]:
    """The collector of the process that tests has its settings back at the end."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("as_before")
async def test_it_runs_by_time_and_seldom_by_what_is_made() -> None:
    collecting = asyncio.create_task(collect_seldom(0.01))
    await asyncio.sleep(0)
    assert gc.get_threshold()[0] >= 50_000
    assert gc.get_freeze_count() > 1000
    gc.disable()  # so that nothing but time brings it about
    for _ in range(2):  # again and again
        left = weakref.ref(Cycle())
        async with asyncio.timeout(60):
            while left() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    collecting.cancel()
    await asyncio.wait([collecting])
