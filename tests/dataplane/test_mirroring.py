"""Copies for mirrors: whoever asks does not notice them, whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.routing import Route

Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
async def links(plane: DataPlane, served: Any, make_link: Any, eventually: Wait) -> Any:
    """The replicas of `m`, which answers, and of `shadow`, which gets copies."""
    plane.apply(Directory(1, (served(), served("shadow"))))
    links = {name: make_link(name) for name in ("m", "shadow")}
    for name, link in links.items():
        plane.add_link(name, "1", link)
    await eventually(lambda: plane.ready()[0])
    mirror = Route(plane.resolve("shadow"), "shadow")
    plane.router.put(Route(plane.resolve("m"), mirrors=(mirror,)))
    return links


def counted(plane: DataPlane) -> dict[tuple[str, str], float]:
    found = [s for s in plane.snapshot() if s.name == "vigil.inference.requests" and s.value]
    told = [(dict(series.attributes), series.value) for series in found]
    return {(given["model"], given["outcome"]): value for given, value in told}


async def test_a_mirror_gets_a_copy_under_its_own_arm(
    plane: DataPlane, links: Any, ask: Any, eventually: Wait
) -> None:
    assert await ask(plane, value=3.0) == 6.0
    await eventually(lambda: ("shadow", "ok") in counted(plane))
    assert counted(plane) == {("m", "ok"): 1, ("shadow", "ok"): 1}
    (copy,) = links["shadow"].batches[-1].items
    assert (copy.arm, copy.bound.arrays[0].tolist()) == ("shadow", [[3.0, 3.0]])
    assert links["m"].batches[-1].items[0].arm == ""


async def test_a_mirror_keeps_nobody_waiting_and_its_failure_is_its_own(
    plane: DataPlane, links: Any, ask: Any, eventually: Wait
) -> None:
    links["shadow"].manual = True
    assert await ask(plane) == 2.0
    await eventually(lambda: links["shadow"].held)
    links["shadow"].fail(errors.ModelFailed("no"))
    await eventually(lambda: ("shadow", "failed") in counted(plane))
    links["shadow"].open = False  # then it refuses at once
    assert await ask(plane) == 2.0
    wanted = {("m", "ok"): 2, ("shadow", "failed"): 1, ("shadow", "unavailable"): 1}
    await eventually(lambda: counted(plane) == wanted)  # a turn later


async def test_a_mirror_that_is_broken_is_told_and_not_noticed(
    plane: DataPlane, links: Any, ask: Any, toy_endpoints: Any, caplog: Any
) -> None:
    class Broken(toy_endpoints.Toy):  # type: ignore[misc, name-defined]
        def begin(self, *_: Any) -> None:
            raise RuntimeError("oh")

    broken = Route(Broken(plane.resolve("shadow"), "broken"))
    working = Route(plane.resolve("shadow"))
    plane.router.put(Route(plane.resolve("m"), mirrors=(broken, working)))
    before = len(links["shadow"].sent)
    assert await ask(plane) == 2.0
    assert "a request was not mirrored" in caplog.text
    assert len(links["shadow"].sent) == before + 1  # the next one gets its copy


async def test_a_refused_request_is_not_mirrored(plane: DataPlane, links: Any, ask: Any) -> None:
    before = len(links["shadow"].sent)
    links["m"].open = False
    with pytest.raises(errors.NoReplica):
        await ask(plane)
    assert counted(plane) == {("m", "unavailable"): 1}
    assert len(links["shadow"].sent) == before


async def test_a_client_that_leaves_takes_its_own_request_along_and_no_copy(
    plane: DataPlane, links: Any, make_request: Any, eventually: Wait
) -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    for link in links.values():
        link.manual = True
    ticket = plane.begin(make_request(), RequestContext(disconnect=never))
    await eventually(lambda: all(link.held for link in links.values()))
    assert links["m"].batches[-1].items[0].context.disconnect is never
    assert links["shadow"].batches[-1].items[0].context.disconnect is None
    ticket.cancel()
    links["m"].answer()
    links["shadow"].answer()
    await eventually(lambda: ("shadow", "ok") in counted(plane))
    assert counted(plane) == {("m", "abandoned"): 1, ("shadow", "ok"): 1}
