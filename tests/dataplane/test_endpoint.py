"""Tickets, and the contract of endpoints, kept by a served version, a cache and a graph alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.routing import Route
from serving.protocol.messages import InferRequest, Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_tickets_tell_in_the_turn_of_the_answer_and_not_after_they_are_given_up(
    plane: DataPlane,
    served: Any,
    make_replica: Any,
    eventually: Wait,
    make_request: Any,
    outcomes: Any,
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.hold = True
    told: list[str] = []
    tickets = {name: plane.begin(make_request()) for name in ("first", "gone", "last")}
    for name, ticket in tickets.items():
        ticket.then(lambda name=name: told.append(name))
        # A turn of the loop after its future was settled everybody would have been told.
        ticket.item.future.add_done_callback(lambda _, name=name: told.append(f"{name} settled"))
    await eventually(lambda: replica.held)
    tickets["gone"].cancel()
    tickets["gone"].cancel()
    assert tickets["gone"].item.on_done is None  # or it would hold its connection
    replica.release()
    await eventually(lambda: "last settled" in told)
    assert told == ["gone settled", "first", "last", "first settled", "last settled"]
    assert tickets["first"].endpoint.finish(tickets["first"]).outputs[0].data.tolist() == [
        [2.0, 2.0]
    ]
    tickets["first"].then(lambda: told.append("late"))
    await eventually(lambda: told[-1] == "late")
    assert outcomes(plane) == {"abandoned": 1, "ok": 2}


@pytest.fixture
async def link(plane: DataPlane, served: Any, make_link: Any, eventually: Wait) -> Any:
    """The replica of a served version `m`, which doubles."""
    plane.apply(Directory(1, (served(),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    return link


@pytest.fixture(params=["served", "cache", "graph"])
def endpoint(request: Any, plane: DataPlane, link: Any, toy_endpoints: Any) -> Any:
    """One of each kind, as the router knows it."""
    known = plane.resolve("m")
    if request.param == "served":
        return known
    made = {"cache": toy_endpoints.Cache, "graph": toy_endpoints.Twice}[request.param](known)
    plane.router.put(Route(made))
    return made


@pytest.fixture
def doubled(endpoint: Any) -> float:
    """What the endpoint makes of 1."""
    return {"ServedVersion": 2.0, "Cache": 2.0, "Twice": 4.0}[type(endpoint).__name__]


async def test_an_endpoint_answers_whoever_awaits(
    plane: DataPlane, endpoint: Any, doubled: float, make_request: Any
) -> None:
    async with asyncio.timeout(60):
        response = await plane.infer(make_request(endpoint.name))
    assert (response.model_name, response.model_version, response.id) == (endpoint.name, "1", "id")
    assert response.outputs[0].data.tolist() == [[doubled, doubled]]


async def test_an_endpoint_answers_tickets(
    plane: DataPlane, endpoint: Any, doubled: float, make_request: Any, eventually: Wait
) -> None:
    ticket = plane.begin(make_request(endpoint.name))
    told: list[int] = []
    ticket.then(lambda: told.append(1))
    assert not told
    await eventually(lambda: told)
    assert ticket.endpoint.finish(ticket).outputs[0].data.tolist() == [[doubled, doubled]]
    assert ticket.endpoint is plane.resolve(endpoint.name)


async def test_an_endpoint_passes_on_what_went_wrong(
    plane: DataPlane, endpoint: Any, link: Any, make_request: Any, eventually: Wait, outcomes: Any
) -> None:
    wrong = InferRequest(
        endpoint.name, "", "id", (Tensor("q", "FP32", (1, 2), np.ones((1, 2), np.float32)),)
    )
    with pytest.raises(errors.InvalidInput, match="unexpected input 'q'"):
        plane.begin(wrong)
    link.manual = True
    under_way = asyncio.ensure_future(plane.infer(make_request(endpoint.name)))
    await eventually(lambda: link.held)
    link.fail(errors.ModelFailed("no"))
    with pytest.raises(errors.ModelFailed, match="no"):
        await under_way
    assert outcomes(plane) == {"invalid": 1, "failed": 1}


@pytest.mark.parametrize("how", ["ticket", "task"])
async def test_who_gives_up_is_counted_once_whatever_stands_in_between(
    plane: DataPlane, endpoint: Any, link: Any, make_request: Any, eventually: Wait, outcomes: Any,
    how: str,
) -> None:  # fmt: skip
    link.manual = True
    told: list[int] = []
    if how == "ticket":
        ticket = plane.begin(make_request(endpoint.name))
        ticket.then(lambda: told.append(1))
        await eventually(lambda: link.held)
        ticket.cancel()
        ticket.cancel()
    else:
        task = asyncio.create_task(plane.infer(make_request(endpoint.name)))
        await eventually(lambda: link.held)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert outcomes(plane) == {"abandoned": 1}
    link.answer()
    await eventually(lambda: not link.busy)
    assert (outcomes(plane), told) == ({"abandoned": 1}, [])


async def test_an_endpoint_is_as_ready_as_what_it_asks(
    plane: DataPlane, endpoint: Any, link: Any
) -> None:
    assert plane.resolve(endpoint.name).ready
    link.open = False
    assert not plane.resolve(endpoint.name).ready


async def test_a_cache_asks_once(
    plane: DataPlane, link: Any, toy_endpoints: Any, make_request: Any, eventually: Wait, ask: Any
) -> None:
    plane.router.put(Route(toy_endpoints.Cache(plane.resolve("m"))))
    asked = len(link.sent)
    assert [await ask(plane, value=value) for value in (3.0, 3.0, 4.0)] == [6.0, 6.0, 8.0]
    ticket = plane.begin(make_request(value=3.0))
    told: list[int] = []
    ticket.then(lambda: told.append(1))
    await eventually(lambda: told)
    assert ticket.endpoint.finish(ticket).outputs[0].data.tolist() == [[6.0, 6.0]]
    ticket.cancel()  # too late: nothing is left to give up
    assert len(link.sent) == asked + 2


async def test_what_only_replicas_have_is_asked_of_the_version_behind_a_cache_and_of_no_graph(
    plane: DataPlane, link: Any, toy_endpoints: Any
) -> None:
    entry = plane.resolve("m")
    plane.router.put(Route(toy_endpoints.Cache(entry)))
    plane.router.put(Route(toy_endpoints.Twice(entry)))
    assert plane.resolve("m") is not entry
    assert plane.served_version("m") is entry
    with pytest.raises(errors.Unsupported, match="model 'twice' has no replicas here"):
        plane.served_version("twice")
    with pytest.raises(errors.ModelNotFound):
        plane.served_version("q")


async def test_the_arm_of_a_route_is_told_with_every_part_of_a_request(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(batching={"max_batch_size": 2}),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    plane.router.put(Route(plane.resolve("m"), "blue", 0.25))
    rows = np.ones((5, 2), np.float32)
    request = InferRequest("m", "", "id", (Tensor("x", "FP32", (5, 2), rows),))
    await plane.infer(request, RequestContext())
    parts = [item for batch in link.batches[1:] for item in batch.items]
    assert [item.arm for item in parts] == ["blue"] * 3
