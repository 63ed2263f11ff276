"""A served version as an endpoint: what it admits, in which order, and what it counts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving import errors
from serving.access.principals import Credential
from serving.channel.messages.directory import Directory
from serving.channel.messages.inference import (
    Passthrough,
)
from serving.channel.messages.observation import ANSWERED, FAILED, REFUSED
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.event_batches import EventKey
from serving.dataplane.hooks.failed_requests import log_failure
from serving.dataplane.hooks.publisher import EventPublisher
from serving.protocol.messages import InferRequest, RequestedOutput

Wait = Callable[[Callable[[], object]], Awaitable[None]]
FLOOD, OTHER = RequestContext(client="flood"), RequestContext(client="other")


def within(seconds: float) -> RequestContext:
    return RequestContext(deadline=time.monotonic() + seconds)


async def test_outputs_flags_and_timeout(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, make_request: Any
) -> None:
    plane.apply(
        Directory(1, (served(guards=[{"name": "schema", "action": "flag"}], expose_flags=True),))
    )
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    response = await plane.infer(
        make_request(value=float("nan"), outputs=(RequestedOutput("y"),), parameters={"timeout": 0})
    )
    assert response.parameters == {"vigil_flags": "schema"}
    assert [output.name for output in response.outputs] == ["y"]
    assert response.model_version == "1"
    link.manual = True
    for parameters, timeout_s in (({"timeout": 20_000}, 60), ({"timeout": 60_000_000}, 0.02)):
        with pytest.raises(errors.DeadlineExceeded):
            await plane.infer(make_request(parameters=parameters), within(timeout_s))
        link.answer() if link.held else None
    for wrong in (-1, True, "1", 1.5):
        with pytest.raises(errors.InvalidInput, match="timeout"):
            await plane.infer(make_request(parameters={"timeout": wrong}))


async def test_requests_are_counted_by_the_objectives_of_their_model(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, make_request: Any, ask: Any
) -> None:
    plane.apply(Directory(1, (served(slo={"latency_ms": 60_000}), served("none"))))
    link = make_link()
    plane.add_link("m", "1", link)
    plane.add_link("none", "1", make_link())
    await eventually(lambda: plane.ready()[0])

    def counted() -> dict[str, float]:
        named = [each for each in plane.snapshot() if each.name.startswith("vigil.slo.")]
        assert all(dict(each.attributes)["model"] == "m" for each in named)
        return {each.name: each.value for each in named}

    before = {"vigil.slo.good": 0, "vigil.slo.total": 0, "vigil.slo.objective": 0.999}
    assert counted() == before  # the probe of a replica is nobody's request
    for _ in range(3):
        await ask(plane)
        await ask(plane, "none")
    with pytest.raises(errors.InvalidInput):
        await plane.infer(make_request(parameters={"timeout": -1}))
    link.manual = True
    with pytest.raises(errors.DeadlineExceeded):
        await plane.infer(make_request(), within(0.02))
    await eventually(lambda: counted()["vigil.slo.good"] == 3)
    assert counted()["vigil.slo.total"] == 4


async def test_priorities(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, make_request: Any, ask: Any
) -> None:
    levels = {"priority_levels": 3, "default_priority_level": 2, "max_batch_size": 1}
    plane.apply(Directory(1, (served(batching=levels), served("flat")), ()))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()
    plane.add_link("flat", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    first = asyncio.create_task(ask(plane, value=9.0))
    await eventually(lambda: link.held)
    tasks = [
        asyncio.create_task(ask(plane, value=float(n), parameters={"priority": priority}))
        for n, priority in enumerate((3, 0, 2, 1))
    ]
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(first, *tasks)
    assert [batch.arrays[0][0, 0] for batch in link.batches[2:]] == [3, 1, 2, 0]
    first = asyncio.create_task(ask(plane, value=9.0))
    link.manual = True
    await eventually(lambda: link.held)
    for level in (9, 0, 1):  # of the contexts; a level below the lowest is the lowest
        context = RequestContext(priority=level)
        tasks.append(asyncio.create_task(plane.infer(make_request(value=float(level)), context)))
    tasks.append(asyncio.create_task(ask(plane, value=5.0, parameters={"priority": 1})))
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(first, *tasks)
    assert [batch.arrays[0][0, 0] for batch in link.batches[-4:]] == [1, 5, 0, 9]
    for wrong in (4, -1, True, "1", 1.0):
        with pytest.raises(errors.InvalidInput, match="priority"):
            await plane.infer(make_request(parameters={"priority": wrong}))
        if wrong != 4:
            with pytest.raises(errors.InvalidInput, match="priority"):
                await plane.infer(make_request("flat", parameters={"priority": wrong}))
    for meaningless in (0, 1, 7):  # without levels, as with Triton
        assert await ask(plane, "flat", parameters={"priority": meaningless}) == 2.0


async def test_a_priority_that_is_none_of_ours_is_the_other_servers(
    plane: DataPlane, served: Any, make_link: Any, ask: Any
) -> None:
    remote = {"url": "grpc://127.0.0.1:1"}
    with_levels = {"priority_levels": 2, "default_priority_level": 1}
    models = (
        served("far", format="remote", remote=remote),
        served("leveled", format="remote", remote=remote, batching=with_levels),
    )
    plane.apply(Directory(1, models, ()))
    links = {name: make_link() for name in ("far", "leveled")}
    for name, link in links.items():
        plane.add_link(name, "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await ask(plane, "far", parameters={"priority": 7})
    forward = links["far"].batches[-1].items[0].bound.forward
    assert msgspec.msgpack.decode(forward, type=Passthrough).parameters == {"priority": 7}
    for name, wrong in (("far", -1), ("far", "1"), ("leveled", 3)):
        with pytest.raises(errors.InvalidInput, match="priority"):
            await ask(plane, name, parameters={"priority": wrong})


@pytest.mark.parametrize(
    ("batching", "flow"),
    [
        ({"fair_share": "none"}, ""),
        ({"fair_share": "client"}, "ana"),
        ({"priority_levels": 3, "fair_share": "none"}, (3, "")),
        ({"priority_levels": 3, "default_priority_level": 2, "fair_share": "client"}, (2, "ana")),
    ],
)
async def test_whether_a_full_queue_has_room_is_asked_for_the_flow_of_a_request(
    plane: DataPlane, served: Any, monkeypatch: pytest.MonkeyPatch, batching: Any, flow: Any
) -> None:
    plane.apply(Directory(1, (served(batching=batching),)))
    (entry,) = plane.entries()
    asked: list[object] = []
    monkeypatch.setattr(type(entry.queue), "may_make_room", lambda _, flow: asked.append(flow))
    entry.may_make_room("ana", b"{}")
    assert asked == [flow]
    # Its priority would be in the body, which is read then.
    assert bool(entry.may_make_room("ana", memoryview(b'{"priority":1}'))) is (len(flow) == 2)
    assert asked == [flow] * (1 if len(flow) == 2 else 2)


async def test_a_request_without_rows_is_answered_at_once_and_recorded(
    plane: DataPlane,
    served: Any,
    make_link: Any,
    eventually: Wait,
    make_request: Any,
    outcomes: Any,
) -> None:
    plane.apply(Directory(1, (served(),)))
    empty = make_request()
    (x,) = empty.inputs
    empty = msgspec.structs.replace(
        empty, inputs=(msgspec.structs.replace(x, shape=(0, 2), data=x.data[:0]),)
    )
    with pytest.raises(errors.NoReplica):
        await plane.infer(empty)
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    before = len(link.batches)
    response = await plane.infer(empty)
    assert response.outputs[0].shape == (0, 2)
    assert len(link.batches) == before
    await eventually(lambda: outcomes(plane).get("ok"))


@pytest.mark.parametrize("fair_share", ["client", "none"])
async def test_clients_take_turns_where_the_model_says_so(
    plane: DataPlane,
    served: Any,
    make_link: Any,
    eventually: Wait,
    fair_share: str,
    make_request: Any,
) -> None:
    plane.apply(Directory(1, (served(batching={"fair_share": fair_share, "max_batch_size": 1}),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    link.manual = True
    tasks = [asyncio.create_task(plane.infer(make_request(value=0.0), FLOOD))]
    await eventually(lambda: link.held)
    tasks += [asyncio.create_task(plane.infer(make_request(value=1.0), FLOOD)) for _ in range(4)]
    tasks += [asyncio.create_task(plane.infer(make_request(value=2.0), OTHER))]
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(*tasks)
    order = [batch.arrays[0][0, 0] for batch in link.batches[2:]]
    assert order.index(2.0) <= 1 if fair_share == "client" else order.index(2.0) == 4


async def test_every_outcome_is_counted(
    plane: DataPlane,
    served: Any,
    make_link: Any,
    eventually: Wait,
    make_request: Any,
    ask: Any,
    outcomes: Any,
) -> None:
    schema = [{"name": "schema", "action": "reject"}]
    plane.apply(Directory(1, (served(guards=schema, batching={"max_queue_rows": 1}),)))
    with pytest.raises(errors.NoReplica):
        await ask(plane)
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    await ask(plane)
    with pytest.raises(errors.GuardRejected):
        await ask(plane, value=float("inf"))
    with pytest.raises(errors.InvalidInput):
        await plane.infer(InferRequest("m", "", "id", ()))
    link.manual = True
    under_way = asyncio.create_task(ask(plane))
    await eventually(lambda: link.held)
    with pytest.raises(errors.DeadlineExceeded):
        await plane.infer(make_request(), within(0.01))
    abandoned = asyncio.create_task(ask(plane))
    await asyncio.sleep(0)
    with pytest.raises(errors.QueueFull):
        await ask(plane)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    link.fail(errors.ModelFailed("no"))
    with pytest.raises(errors.ModelFailed):
        await under_way
    assert outcomes(plane) == {
        "unavailable": 1,
        "ok": 1,
        "rejected": 1,
        "invalid": 1,
        "deadline": 1,
        "abandoned": 1,
        "overloaded": 1,
        "failed": 1,
    }


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_request_that_a_model_fails_leaves_one_line_whenever_its_answer_is_fetched(
    plane: DataPlane,
    served: Any,
    make_link: Any,
    eventually: Wait,
    make_request: Any,
    caplog: pytest.LogCaptureFixture,
    at_once: bool,
) -> None:
    plane.apply(Directory(1, (served(),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    link.manual = True
    ticket = plane.begin(make_request())
    said: list[errors.VigilError] = []

    def fetch() -> None:
        with pytest.raises(errors.ModelFailed) as caught:
            ticket.endpoint.finish(ticket)
        log_failure(caught.value, path="/somewhere")  # as a transport does: it is no second line
        said.append(caught.value)

    if at_once:
        ticket.then(fetch)  # in the turn of the answer, before there is a record
    await eventually(lambda: link.held)
    link.answer(failed={0: "no"}, outputs={})
    await asyncio.sleep(0.01)
    if not at_once:
        fetch()
    assert [error.message for error in said] == ["no"]
    assert [record.getMessage() for record in caplog.records if record.name == "vigil"] == ["no"]


@pytest.mark.parametrize(
    ("log", "kinds"),
    [(None, {ANSWERED}), ({"capture": "full", "sample": 1}, {ANSWERED, FAILED, REFUSED})],
)
async def test_of_a_logged_model_failures_and_refusals_are_published_too(
    plane: DataPlane,
    served: Any,
    make_link: Any,
    eventually: Wait,
    make_request: Any,
    monkeypatch: pytest.MonkeyPatch,
    log: Any,
    kinds: set[str],
) -> None:
    told: list[EventKey] = []
    monkeypatch.setattr(EventPublisher, "publish", lambda _self, key, _batch: told.append(key))
    plane.apply(Directory(1, (served(log=log),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    link.manual = True
    answers: list[dict[str, Any]] = [{}, {"failed": {0: "no"}, "outputs": {}}]
    for answer in answers:
        ticket = plane.begin(make_request())
        await eventually(lambda: link.held)
        link.answer(**answer)
        await asyncio.sleep(0.01)
        with contextlib.suppress(errors.ModelFailed):
            ticket.endpoint.finish(ticket)
    with pytest.raises(errors.InvalidInput):
        plane.begin(make_request(outputs=(RequestedOutput("nothing"),)))
    assert {key.kind for key in told} == kinds


async def test_requests_of_different_credentials_never_share_a_batch(
    plane: DataPlane, served: Any, make_link: Any, make_request: Any
) -> None:
    remote = {"url": "grpc://127.0.0.1:1", "credentials": "passthrough"}
    models = (
        served("far", format="remote", remote=remote),
        served("own", format="remote", remote={"url": remote["url"]}),
    )
    plane.apply(Directory(1, models, ()))
    links = {name: make_link() for name in ("far", "own")}
    for name, link in links.items():
        plane.add_link(name, "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def all_of(name: str) -> list[list[str]]:
        """Ask as a, b, a, b and as nobody; returns the credentials in each batch."""
        links[name].batches.clear()
        contexts = [RequestContext(credential=Credential(who)) for who in (b"a", b"b", b"a", b"b")]
        await asyncio.gather(
            *(plane.infer(make_request(name), each) for each in (*contexts, RequestContext()))
        )
        found = []
        for batch in links[name].batches:
            forwards = [item.bound.forward for item in batch.items]
            found.append([_credential(forward) for forward in forwards])
        return sorted(found)

    for together in await all_of("far"):
        assert len(set(together)) == 1
    assert sorted(who for together in await all_of("far") for who in together) == [
        "", "a", "a", "b", "b",
    ]  # fmt: skip
    # Where the server has a secret of ours, nobody's is passed on.
    assert {who for together in await all_of("own") for who in together} == {""}
    with pytest.raises(errors.InvalidInput, match="'authorization' must be printable ASCII"):
        await plane.infer(make_request("far"), RequestContext(credential=Credential(b"a\r\nb: c")))


def _credential(forward: bytes) -> str:
    return msgspec.msgpack.decode(forward, type=Passthrough).credential if forward else ""
