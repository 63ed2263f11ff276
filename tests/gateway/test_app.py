"""A gateway process is put together: what it tells the control plane, and what it takes from it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from serving.channel.messages.control import DeadlyMeta, EndedMeta, ExplainerMeta
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.reports import GatewayStatus
from serving.channel.messages.settings import Settings
from serving.config import Listen
from serving.config.traces import Traces
from serving.control.registry import Registry
from serving.dataplane.handler import DataPlane
from serving.errors import ModelNotReady
from serving.gateway import app as app_module
from serving.gateway.app import GatewayComposition, composition_from_environment
from serving.gateway.asgi import VigilApp
from serving.gateway.body_budget import BodyBudget
from serving.gateway.spare_memory import SpareMemory
from serving.protocol.repository import ControlMeta
from serving.telemetry.logs.switch import LogSettings
from serving.upkeep.collector import Collector

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Compose = Callable[..., GatewayComposition]


@pytest.fixture
async def compose(address: str) -> AsyncIterator[Compose]:
    """Makes a gateway that is a guest in this process, and stops it."""
    made: list[GatewayComposition] = []

    def compose(plane: DataPlane | None = None, **changes: Any) -> GatewayComposition:
        given = {"server_name": "mine", "bodies": BodyBudget(1 << 20, 1 << 10), "guest": True}
        made.append(GatewayComposition("gateway-7", address, None, plane, **{**given, **changes}))
        return made[-1]

    yield compose
    for composition in made:
        await composition.stop()
    await asyncio.sleep(0)


# -- to the control plane ---------------------------------------------------------------------


async def test_it_joins_as_a_gateway_and_reports(
    registry: Registry, compose: Compose, eventually: Wait
) -> None:
    composition = compose()
    composition.bodies.held = 77
    plane = await composition.start()
    assert plane.server_name == "mine"
    await eventually(registry.gateway_statuses)
    (member,) = registry.directory.members
    assert member == Member(role="gateway", id="gateway-7", pid=os.getpid())
    told = {series.name: series for series in registry.aggregate()}
    assert told["vigil.body.held"].value == 77
    assert any(
        dict(series.attributes).get("role") == "gateway" and series.value
        for series in registry.aggregate()
        if series.name.startswith("process.")
    )


async def test_a_report_says_whether_it_is_ready_and_why_not(
    registry: Registry, compose: Compose, eventually: Wait, served: ServedModel
) -> None:
    await compose().start()
    registry.set_models([served])

    def status() -> GatewayStatus | None:
        return next(iter(registry.gateway_statuses()), None)

    # A report follows each directory at once: nobody waits for the next second.
    current = registry.directory.generation
    await eventually(lambda: (found := status()) and found.generation >= current)
    assert "'m'" in status().reasons[0]  # type: ignore[union-attr]
    ready, reasons = registry.ready()
    assert not ready
    assert any("'m'" in reason for reason in reasons)


async def test_orders_and_questions_go_to_the_control_plane(
    registry: Registry, compose: Compose, eventually: Wait
) -> None:
    plane = await compose().start()
    with pytest.raises(ModelNotReady):
        await plane.control(ControlMeta("index"))  # not connected yet
    asked: list[ControlMeta] = []

    async def carry_out(order: ControlMeta) -> object:
        asked.append(order)
        return {"done": order.model}

    registry.requests.on_control = carry_out
    await eventually(registry.gateway_statuses)
    assert await plane.control(ControlMeta("load", "m")) == {"done": "m"}
    assert asked == [ControlMeta("load", "m")]


async def test_an_explainer_is_asked_for_by_model_and_version(
    registry: Registry, compose: Compose, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ExplainerMeta] = []

    async def wanted(meta: ExplainerMeta) -> None:
        asked.append(meta)

    monkeypatch.setattr(registry.explainers, "wanted", wanted)
    plane = await compose().start()
    await eventually(registry.gateway_statuses)
    await plane.explainers.order("m", "3")
    assert asked == [ExplainerMeta("m", "3")]


async def test_what_ended_a_replica_is_told_to_the_other_gateways(
    registry: Registry, compose: Compose, join: Any, eventually: Wait
) -> None:
    other = join(Member("gateway", "gateway-8", 1))
    plane = await compose().start()
    await eventually(lambda: len(registry.gateway_statuses()) == 2)
    deadly = DeadlyMeta("m", "1", "", b"digest", 5, "ended with exit code 3")
    plane.reconciler.on_deadly(deadly)
    await eventually(lambda: other.deadly == [deadly])


# -- from the control plane -------------------------------------------------------------------


async def test_a_directory_is_served_and_its_log_settings_are_applied(
    registry: Registry, compose: Compose, eventually: Wait, served: ServedModel
) -> None:
    plane = await compose().start()
    registry.set_settings(Settings(log=LogSettings(log_verbose_level=1)))
    registry.set_models([served])
    await eventually(lambda: plane.versions("m") == ["1"])
    assert logging.getLogger("vigil").level == logging.DEBUG


async def test_the_end_of_a_replica_and_a_drain_reach_the_data_plane(
    registry: Registry, compose: Compose, eventually: Wait
) -> None:
    plane = await compose().start()
    await eventually(registry.gateway_statuses)
    ended = EndedMeta("replica-m-1-0", "ended with exit code 3", True)
    registry.tell_ended(ended)

    def heard() -> EndedMeta | None:
        found: list[EndedMeta | None] = []
        plane.ends.ask(ended.id, found.append)
        return found[0]

    await eventually(heard)
    assert heard() == ended
    registry.drain()
    await eventually(plane.stopping.is_set)


async def test_deadly_requests_of_other_gateways_are_refused_here(
    registry: Registry, compose: Compose, join: Any, eventually: Wait, served: ServedModel
) -> None:
    other = join(Member("gateway", "gateway-8", 1))
    plane = await compose().start()
    registry.set_models([served])
    await eventually(lambda: plane.versions("m") and len(registry.gateway_statuses()) == 2)
    other.client.tell_deadly(DeadlyMeta(*served.key, b"digest", 5, "ended with exit code 3"))
    lost = plane.served_version("m").batcher.lost
    await eventually(lambda: len(lost.quarantine.deadly))


# -- its end, and who owns the process --------------------------------------------------------


async def test_it_leaves_when_it_stops(
    registry: Registry, compose: Compose, eventually: Wait
) -> None:
    composition = compose()
    plane = await composition.start()
    await eventually(registry.gateway_statuses)
    await composition.stop()
    await eventually(lambda: not registry.directory.members)
    assert plane.readiness.draining


async def test_one_that_was_never_started_can_be_stopped(compose: Compose) -> None:
    await compose().stop()


async def test_links_may_come_from_elsewhere(registry: Registry, compose: Compose) -> None:
    given = DataPlane("other", channel=False)
    assert await compose(given).start() is given
    assert given.server_name == "mine"


@pytest.mark.parametrize(("guest", "wants"), [(True, []), (False, ["Collector", "SpareMemory"])])
async def test_a_guest_leaves_collector_and_allocator_alone(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, guest: bool, wants: list[str]
) -> None:
    started: list[str] = []
    for name in ("Collector", "SpareMemory"):
        monkeypatch.setattr(f"{app_module.__name__}.{name}", fake(name, started))
    await compose(guest=guest).start()
    assert started == wants


def fake(name: str, started: list[str]) -> type:
    class Fake:
        def __init__(self, *_: object) -> None:
            pass

        def start(self) -> None:
            started.append(name)

        def stop(self) -> None:
            pass

    return Fake


@pytest.mark.parametrize("guest", [True, False])
async def test_a_guest_leaves_log_handlers_alone(
    registry: Registry,
    compose: Compose,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
    guest: bool,
) -> None:
    for name in ("Collector", "SpareMemory"):
        monkeypatch.setattr(f"{app_module.__name__}.{name}", fake(name, []))
    handler = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    registry.set_settings(Settings(log=LogSettings(log_info=False, log_verbose_level=1)))
    await compose(guest=guest).start()
    await eventually(lambda: logging.getLogger("vigil").level == logging.DEBUG)
    assert bool(handler.filters) != guest


# -- from the environment ---------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, address: str) -> pytest.MonkeyPatch:
    listen = Listen(server_name="mine", max_body_mib=3, max_inflight_mib=300)
    monkeypatch.setenv("VIGIL_LISTEN", listen.model_dump_json())
    monkeypatch.setenv("VIGIL_GATEWAY_ID", "gateway-3")
    monkeypatch.setenv("VIGIL_REGISTRY", address)
    monkeypatch.delenv("VIGIL_CHANNEL_SECRET", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("secret", "passed"), [(None, None), ("", None), ("00ff", b"\0\xff")])
def test_the_environment_describes_a_gateway(
    environment: pytest.MonkeyPatch, address: str, secret: str | None, passed: bytes | None
) -> None:
    if secret is not None:
        environment.setenv("VIGIL_CHANNEL_SECRET", secret)
    given: list[Any] = []
    environment.setattr(app_module, "GatewayComposition", lambda *a, **k: given.append((a, k)))
    composition_from_environment()
    ((positional, named),) = given
    assert positional == ("gateway-3", address, passed)
    assert named.pop("server_name") == "mine"
    bodies = named.pop("bodies")
    assert (bodies.most, bodies.large) == (300 << 20, (300 << 20) - (300 << 20) // 8)
    assert named.pop("traces") == Traces()
    assert not named  # it owns its process


def test_the_app_is_made_when_it_is_asked_for(environment: pytest.MonkeyPatch) -> None:
    configured: list[str] = []
    environment.setattr(app_module, "configure", configured.append)
    made = app_module.app
    assert isinstance(made, VigilApp)
    assert configured == ["gateway"]
    assert made.bodies.most == 300 << 20
    assert made.plane is None  # the server starts it
    with pytest.raises(AttributeError, match="nothing_else"):
        app_module.nothing_else  # noqa: B018


@pytest.mark.parametrize("guest", [True, False])
async def test_the_time_of_a_host_is_shared_out_to_nobody(
    registry: Registry, address: str, guest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The collector of this process stays as it is.
    monkeypatch.setattr(Collector, "start", lambda _: None)
    monkeypatch.setattr(SpareMemory, "start", lambda _: None)
    bodies = BodyBudget(1 << 20, 1 << 20)
    gateway = GatewayComposition(
        "gateway-0", address, None, guest=guest, server_name="vigil", bodies=bodies
    )
    await gateway.start()
    try:
        told = [each for each in gateway._report().series if each.name == "vigil.model.cpu.time"]
    finally:
        await gateway.stop()
    assert bool(told) is not guest
    assert all(("role", "gateway") in each.attributes for each in told)
