"""gRPC's health protocol: `Check`; `Watch`: the status at once, every change, and its ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serving.channel.messages.directory import BrokenModel, Directory, ServedModel
from serving.dataplane.context import NO_CONTEXT
from serving.dataplane.handler import DataPlane
from serving.errors import ModelNotFound, ModelNotReady
from serving.gateway.grpc import health
from serving.protocol.pb import health_pb2

GRPC = ("content-type", "application/grpc")
CHECK = "/grpc.health.v1.Health/Check"
PATH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
NO_MODEL = Directory(2, (), broken=(BrokenModel("m", "", "its folder is empty", required=True),))


def asked(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


def ask_for(service: str) -> bytes:
    payload = asked(service).SerializeToString()
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def statuses(client: Any) -> list[int]:
    return [health_pb2.HealthCheckResponse.FromString(m).status for m in client.messages()]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
def served(plane: Any) -> ServedModel:
    (entry,) = plane.entries()
    return ServedModel("m", "1", entry.config.model_dump_json().encode(), "nowhere")


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "m"])
@pytest.mark.parametrize("ready", [True, False])
async def test_health(ask: Any, plane: Any, link: Any, service: str, ready: bool) -> None:
    plane.readiness.draining = not ready
    link.open = ready
    answer = await ask("POST", CHECK, ask_for(service), [GRPC])
    assert (answer.status, answer.trailers) == (200, {"grpc-status": "0"})
    reply = health_pb2.HealthCheckResponse.FromString(answer.body[5:])
    assert reply.status == (1 if ready else 2)


@pytest.mark.parametrize(
    "service",
    ["q", "M", " m", "/m", "m/1", "/inference.GRPCInferenceService/", "grpc.health.v1.Health"],
)
async def test_health_of_what_is_not_there(ask: Any, service: str) -> None:
    answer = await ask("POST", CHECK, ask_for(service), [GRPC])
    assert (answer.status, answer.trailers["grpc-status"]) == (200, "5")


async def test_who_asks_once_hears_that_a_drain_is_near(plane: Any, served: ServedModel) -> None:
    plane.apply(Directory(2, (served,), leaving=True))
    for service in ("", "m"):
        answer = await health.check(plane, asked(service), NO_CONTEXT)
        assert answer.status == NOT_SERVING
    with pytest.raises(ModelNotFound):
        await health.check(plane, asked("q"), NO_CONTEXT)


async def test_before_anybody_has_said_what_is_served() -> None:
    plane = DataPlane("g")
    assert (await health.check(plane, asked(""), NO_CONTEXT)).status == NOT_SERVING
    with pytest.raises(ModelNotReady):
        await health.check(plane, asked("m"), NO_CONTEXT)
    for service, status in (("", NOT_SERVING), ("m", SERVICE_UNKNOWN)):
        watched = health.statuses(plane, service)
        assert (await anext(watched)).status == status
        await watched.aclose()
    plane.close()


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("", ""),
        ("inference.GRPCInferenceService", ""),
        ("m", "m"),
        ("/inference.GRPCInferenceService/", "/inference.GRPCInferenceService/"),
        ("inference.grpcinferenceservice", "inference.grpcinferenceservice"),
        (" ", " "),
    ],
)
def test_the_model_that_a_question_is_about(service: str, model: str) -> None:
    assert health.model_asked(asked(service)) == model


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "m"])
async def test_every_change_is_told(
    client: Any, plane: Any, link: Any, served: ServedModel, service: str
) -> None:
    gone = SERVICE_UNKNOWN if service == "m" else NOT_SERVING
    call = client.start(PATH)
    client.says(ask_for(service), more=False)
    await until(lambda: statuses(client) == [SERVING])
    plane.apply(NO_MODEL)
    await until(lambda: statuses(client) == [SERVING, gone])
    plane.apply(Directory(3, (served,)))
    plane.add_link("m", "1", link)
    await until(lambda: statuses(client)[-1] == SERVING)
    assert set(statuses(client)[2:-1]) <= {NOT_SERVING}
    client.leaves()
    await asyncio.wait_for(call, 60)


async def test_nothing_is_told_twice(client: Any, plane: Any, served: ServedModel) -> None:
    call = client.start(PATH)
    client.says(ask_for(""), more=False)
    await until(lambda: statuses(client) == [SERVING])
    for number in range(3, 9):
        plane.apply(Directory(number, (served,)))
        for _ in range(20):
            await asyncio.sleep(0)
    assert statuses(client) == [SERVING]
    client.leaves()
    await asyncio.wait_for(call, 60)


async def test_a_link_that_closes_without_a_word(
    client: Any, link: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_AGAIN_S", 0.01)
    call = client.start(PATH)
    client.says(ask_for("m"), more=False)
    await until(lambda: statuses(client) == [SERVING])
    link.open = False
    await until(lambda: statuses(client) == [SERVING, NOT_SERVING])
    client.leaves()
    await asyncio.wait_for(call, 60)


async def test_what_is_unknown_may_become_known(
    client: Any, plane: Any, link: Any, served: ServedModel
) -> None:
    call = client.start(PATH)
    client.says(ask_for("later"), more=False)
    await until(lambda: statuses(client) == [SERVICE_UNKNOWN])
    later = ServedModel("later", "1", served.config, "nowhere")
    plane.apply(Directory(2, (served, later)))
    plane.add_link("later", "1", link)
    await until(lambda: statuses(client)[-1] == SERVING)
    client.leaves()
    await asyncio.wait_for(call, 60)


@pytest.mark.parametrize("service", ["", "m"])
async def test_that_a_drain_is_near_is_told_and_ends_nothing(
    client: Any, plane: Any, served: ServedModel, service: str
) -> None:
    call = client.start(PATH)
    client.says(ask_for(service), more=False)
    await until(lambda: statuses(client) == [SERVING])
    plane.apply(Directory(2, (served,), leaving=True))
    await until(lambda: statuses(client) == [SERVING, NOT_SERVING])
    assert plane.ready() == (False, ["the server is about to stop"])
    assert plane.resolve("m").ready
    assert not call.done()
    client.leaves()
    await asyncio.wait_for(call, 60)


@pytest.mark.parametrize("service", ["", "m", "unknown"])
async def test_a_drain_ends_it(
    client: Any, plane: Any, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    call = client.start(PATH)
    client.says(ask_for(service), more=False)
    await until(lambda: len(statuses(client)) == 1)
    plane.drain()
    await asyncio.wait_for(call, 60)
    assert statuses(client)[1:] == [NOT_SERVING]
    assert client.status() == 14
    assert not caplog.records  # a probe that hears the truth is no failure


async def test_a_watch_that_begins_after_the_drain_hears_it_and_ends(
    client: Any, plane: Any
) -> None:
    plane.drain()
    call = client.start(PATH)
    client.says(ask_for("unknown"), more=False)
    await asyncio.wait_for(call, 60)
    assert (statuses(client), client.status()) == ([NOT_SERVING], 14)


async def test_a_deadline_ends_it(client: Any) -> None:
    call = client.start(PATH, (b"grpc-timeout", b"20m"))
    client.says(ask_for(""), more=False)
    await asyncio.wait_for(call, 60)
    assert (statuses(client), client.status()) == ([SERVING], 4)


async def test_clients_that_leave_leave_nothing_behind(make_client: Any) -> None:
    before = asyncio.all_tasks()
    clients = [make_client() for _ in range(50)]
    calls = [client.start(PATH) for client in clients]
    for client in clients:
        client.says(ask_for(""), more=False)
    await until(lambda: all(statuses(client) == [SERVING] for client in clients))
    for client in clients:
        client.leaves()
    await asyncio.wait_for(asyncio.gather(*calls), 60)
    await until(lambda: asyncio.all_tasks() <= before)
    assert all(client.sent[-1]["type"] != "http.response.trailers" for client in clients)


async def test_a_client_that_leaves_before_it_asks(client: Any) -> None:
    call = client.start(PATH)
    client.says(b"")
    client.leaves()
    await asyncio.wait_for(call, 60)
    assert client.messages() == []


async def test_a_broken_question(client: Any) -> None:
    call = client.start(PATH)
    client.says(b"\0\0\0\0\x03\xff\xff\xff", more=False)
    await asyncio.wait_for(call, 60)
    assert client.status() == 3
    said = dict(client.sent[-1]["headers"])[b"grpc-message"]
    assert said == b"the message is not a valid HealthCheckRequest"
