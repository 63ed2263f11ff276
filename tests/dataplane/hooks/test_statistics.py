"""Statistics over reloads, removals and clients that leave: all of them count as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import Directory, ServedModel
from serving.dataplane.handler import DataPlane
from serving.errors import ClientGone
from serving.gateway.extensions.statistics import ModelStats, statistics
from serving.protocol.messages import InferRequest, Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    yield plane
    plane.close()


@pytest.fixture
def serve(plane: DataPlane, make_config: Any, make_link: Any, eventually: Wait) -> Any:
    """Serves revisions of versions and returns the link of the last one."""

    async def serve(generation: int, *keys: tuple[str, str]) -> Any:
        config = make_config().model_dump_json().encode()
        models = tuple(
            ServedModel("m", version, config, "nowhere", None, revision=revision)
            for version, revision in keys
        )
        plane.apply(Directory(generation, models))
        link = None
        for version, revision in keys:
            link = make_link(f"{version}-{revision}")
            plane.add_link("m", version, link, revision)
        await eventually(
            lambda: [(e.version, e.key[2]) for e in plane.entries() if e.ready] == list(keys)
        )
        return link

    return serve


def request() -> InferRequest:
    return InferRequest("m", "", "r", (Tensor("x", "FP32", (1, 2), np.ones((1, 2), np.float32)),))


def told(plane: DataPlane, version: str) -> ModelStats:
    (stats,) = statistics(plane, "m", version).model_stats
    return stats


async def test_a_reload_sets_back_nothing_and_a_new_version_begins_at_zero(
    plane: DataPlane, serve: Any, eventually: Wait
) -> None:
    await serve(1, ("1", "old"))
    await plane.infer(request())
    await eventually(lambda: told(plane, "1").execution_count == 1)  # a turn after the answer
    before = told(plane, "1")
    assert (before.inference_count, before.inference_stats.success.count) == (1, 1)
    await serve(2, ("1", "new"))
    assert told(plane, "1") == before
    await plane.infer(request())
    await eventually(lambda: told(plane, "1").execution_count == 2)
    after = told(plane, "1")
    stats = after.inference_stats
    counts = {stats.success.count, stats.queue.count, stats.compute_infer.count}
    assert counts | {after.inference_count, after.execution_count} == {2}
    assert [(each.batch_size, each.compute_infer.count) for each in after.batch_stats] == [(1, 2)]
    await serve(3, ("2", "new"))
    new = told(plane, "2")
    assert (new.inference_count, new.inference_stats.success.count, new.last_inference) == (0, 0, 0)
    await serve(4, ("1", "old"))
    assert told(plane, "1") == after


@pytest.mark.parametrize("how", ["cancelled", "ticket", "found out"])
async def test_who_leaves_is_one_failure(
    plane: DataPlane, serve: Any, eventually: Wait, how: str
) -> None:
    link = await serve(1, ("1", "a"))
    link.manual = True
    if how == "cancelled":
        task = asyncio.create_task(plane.infer(request()))
        await eventually(lambda: link.held)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        ticket = plane.begin(request())
        await eventually(lambda: link.held)
        if how == "ticket":
            ticket.cancel()
            ticket.cancel()
        else:
            ticket.item.fail(ClientGone("gone"))
            with pytest.raises(ClientGone):
                ticket.endpoint.finish(ticket)
    link.answer()
    await eventually(lambda: told(plane, "1").execution_count)
    stats = told(plane, "1").inference_stats
    assert (stats.success.count, stats.fail.count) == (0, 1)
    assert stats.fail.ns > 0
    outcomes = {
        dict(series.attributes)["outcome"]: series.value
        for series in plane.snapshot()
        if series.name == "vigil.inference.requests" and series.value
    }
    assert outcomes == {"abandoned": 1}
