"""What the data plane tells of all that it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.dataplane.handler import DataPlane

Wait = Callable[[Callable[[], object]], Awaitable[None]]


def gauges(plane: DataPlane) -> dict[str, float]:
    wanted = ("vigil.queue.rows", "vigil.replica.slots.total", "vigil.replica.slots.used")
    return {series.name: series.value for series in plane.snapshot() if series.name in wanted}


async def test_series_do_not_grow_with_what_clients_send(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, ask: Any
) -> None:
    plane.apply(Directory(1, (served(),)))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    with pytest.raises(errors.ModelNotFound):
        await ask(plane, "random-0")
    before = len(plane.snapshot())
    for number in range(20):
        with pytest.raises(errors.VigilError):
            await ask(plane, f"random-{number}")
    assert len(plane.snapshot()) == before


async def test_gauges_tell_of_what_is_being_removed_and_then_of_nothing(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, ask: Any
) -> None:
    plane.apply(Directory(1, (served(),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.ready()[0])
    asked = [asyncio.ensure_future(ask(plane)) for _ in range(2)]
    await eventually(lambda: link.held)
    last = asyncio.ensure_future(ask(plane))
    await asyncio.sleep(0)
    plane.apply(Directory(2, ()))
    assert list(gauges(plane).values()) == [1, 1, 1]
    link.manual = False
    link.answer()
    await asyncio.gather(*asked, last)
    await eventually(lambda: not plane.status().retiring)
    assert gauges(plane) == {}
