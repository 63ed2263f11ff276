"""The control plane over real sockets: leases, the directory, restarts, readiness, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving.channel.endpoint import connect
from serving.channel.messages.control import DeadlyMeta, EndedMeta
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingRecord, FindingsChanged
from serving.channel.messages.reports import GatewayStatus, ReplicaStatus, Report
from serving.control.instance_status import instance_status
from serving.control.members import STALE_S
from serving.control.registry import Registry
from serving.telemetry.series import Series

GATEWAY = Member("gateway", "gateway-0", 10)
REPLICA = Member("replica", "replica-m-1-0", 11, "unix:/r", "m", "1", slots=2)
MONITOR = Member("monitor", "monitor", 12)
FOUND = FindingRecord(
    model="m",
    version="1",
    monitor="drift",
    metric="psi",
    subject="",
    value=0.4,
    threshold=0.05,
    direction="above",
    breached=True,
    reason="",
    n_reference=100,
    n_current=10,
    window=(0.0, 1.0),
    age_s=5.0,
    p_value=None,
    ci=None,
    severity="info",
    segment="",
    window_id="",
)

Join = Callable[[Member], Any]
Wait = Callable[[Callable[[], object]], Awaitable[None]]


def rows(value: float) -> Series:
    return Series("vigil.inference.rows", "sum", "{row}", (), value)


def value(registry: Registry, name: str) -> float | None:
    return next((item.value for item in registry.aggregate() if item.name == name), None)


async def test_everybody_sees_who_comes_and_goes(
    registry: Registry, join: Join, eventually: Wait, served: ServedModel
) -> None:
    gateway = join(GATEWAY)
    registry.set_models([served])
    replica = join(REPLICA)
    await eventually(lambda: len(registry.directory.members) == 2 and gateway.directories)
    await eventually(lambda: gateway.directories[-1].of_role("replica") == [REPLICA])
    assert gateway.directories[-1].models == (served,)

    await replica.client.stop()
    await eventually(lambda: gateway.directories[-1].members == (GATEWAY,))
    generations = [directory.generation for directory in gateway.directories]
    assert generations == sorted(set(generations))


async def test_a_restarted_replica_is_counted_and_its_totals_go_on(
    registry: Registry, join: Join, eventually: Wait
) -> None:
    first = join(REPLICA)
    first.report = Report(True, (rows(5),), ReplicaStatus())
    await eventually(lambda: value(registry, "vigil.inference.rows") == 5)
    assert value(registry, "vigil.replica.restarts") == 0
    await first.client.stop()
    await eventually(lambda: not registry.directory.members)
    assert value(registry, "vigil.inference.rows") == 5

    second = join(Member("replica", REPLICA.id, 99, "unix:/r", "m", "1", slots=2))
    second.report = Report(True, (rows(2),), ReplicaStatus())
    await eventually(lambda: value(registry, "vigil.inference.rows") == 7)
    assert value(registry, "vigil.replica.restarts") == 1
    assert registry.states()[0].restarts == 1


async def test_a_second_connection_with_the_same_id_replaces_the_first(
    registry: Registry, address: str, eventually: Wait
) -> None:
    old = await connect(address)
    old.notify("register", REPLICA)
    await eventually(lambda: registry.directory.members)
    new = await connect(address)
    new.notify("register", REPLICA)
    await eventually(lambda: old.closed)
    await asyncio.sleep(0.02)
    assert registry.directory.members == (REPLICA,)
    new.close()
    await eventually(lambda: not registry.directory.members)


async def test_gateways_hear_how_a_replica_ended_and_of_what(
    registry: Registry, join: Join, eventually: Wait
) -> None:
    one, other, replica = join(GATEWAY), join(Member("gateway", "gateway-1", 12)), join(REPLICA)
    await eventually(lambda: len(registry.directory.members) == 3)
    ended = EndedMeta(REPLICA.id, "ended with signal 11", by_itself=True)
    registry.tell_ended(ended)
    await eventually(lambda: one.ended == other.ended == [ended])
    deadly = DeadlyMeta("m", "1", "r", b"digest", 7, "ended with signal 11")
    one.client.tell_deadly(deadly)
    await eventually(lambda: other.deadly == [deadly])
    other.client.tell_deadly(deadly)
    await eventually(lambda: one.deadly == [deadly])
    assert (replica.ended, replica.deadly) == ([], [])
    assert other.deadly == [deadly]


async def test_garbage_ends_only_its_own_connection(
    registry: Registry, join: Join, address: str, eventually: Wait
) -> None:
    join(GATEWAY)
    await eventually(lambda: registry.directory.members)
    rogue = await connect(address)
    rogue.notify("report", "before registering: ignored")
    rogue.notify("register", {"role": "emperor"})
    await eventually(lambda: rogue.closed)
    assert registry.directory.members == (GATEWAY,)


async def test_what_a_member_says_and_nobody_understands_ends_nothing(
    registry: Registry, join: Join, address: str, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a release is rolled out: the control plane is of one, and a role of another."""
    gateway = join(GATEWAY)
    await eventually(lambda: registry.ready()[0])
    strange = await connect(address)
    strange.notify("register", MONITOR)
    for _ in range(3):
        strange.notify("report", {"ready": True, "series": [], "status": {"role": "emperor"}})
        strange.notify("findings_changed", {"findings": [{"monitor": "drift"}]})
    strange.notify("findings_changed", FindingsChanged(()))
    await eventually(lambda: len(caplog.messages) == 2)
    assert "a report of monitor cannot be read" in caplog.messages[0]
    assert "a message of findings of monitor cannot be read" in caplog.messages[1]
    assert not strange.closed
    assert {state.member.id: state.ready for state in registry.states()} == {
        "gateway-0": True,
        "monitor": False,
    }
    assert gateway.client.connected
    strange.close()
    await eventually(lambda: len(registry.states()) == 1)


async def test_findings_of_a_monitor_that_is_gone_are_unknown(
    registry: Registry, join: Join, eventually: Wait, served: ServedModel
) -> None:
    registry.set_models([served])
    first = join(MONITOR)
    await eventually(lambda: registry.states() and registry.states()[0].ready)
    first.client.notify(FINDINGS_CHANGED, FindingsChanged((FOUND,)))
    await eventually(registry.findings)
    assert [each.breached for each in registry.findings()] == [True]
    await first.client.stop()
    await eventually(lambda: not registry.states())
    unknown = [(None, "the monitor is gone; breached before that")]
    assert [(each.breached, each.reason) for each in registry.findings()] == unknown
    second = join(msgspec.structs.replace(MONITOR, pid=13))
    await eventually(lambda: registry.states() and registry.states()[0].ready)
    assert [(each.breached, each.reason) for each in registry.findings()] == unknown
    second.client.notify(FINDINGS_CHANGED, FindingsChanged((FOUND,)))
    await eventually(lambda: [each.breached for each in registry.findings()] == [True])


async def test_whoever_follows_learns_how_many_monitors_there_are_to_be(
    address: str, join: Join, eventually: Wait, served: ServedModel
) -> None:
    registry = Registry(monitors=3)
    assert registry.directory.monitors == 3
    await registry.start(address)
    told: list[int] = []
    join(GATEWAY).client._on_directory = lambda directory: told.append(directory.monitors)
    registry.set_models([served])
    await eventually(lambda: told)
    assert set(told) == {3}
    registry.stop()


async def test_readiness_is_what_gateways_say(
    registry: Registry, join: Join, eventually: Wait
) -> None:
    assert registry.ready() == (False, ["0 of 1 gateways are there"])
    gateway = join(GATEWAY)
    gateway.report = Report(False, (), GatewayStatus(reasons=("model 'm': no replica is there",)))
    expected = ["gateway gateway-0: model 'm': no replica is there"]
    await eventually(lambda: registry.ready() == (False, expected))
    gateway.report = Report(True, (), GatewayStatus())
    await eventually(lambda: registry.ready() == (True, []))
    status = instance_status(registry)
    assert status.ready
    assert status.members[0].member.id == "gateway-0"


async def test_every_reason_is_told_once_and_of_required_models_only(
    address: str, join: Join, eventually: Wait, served: ServedModel
) -> None:
    registry = Registry(gateways=2)
    await registry.start(address)
    config = msgspec.json.decode(served.config)
    spare = msgspec.json.encode({**config, "required": False})
    models = {
        name: msgspec.structs.replace(served, name=name) for name in ("lost", "told", "waiting")
    }
    models["spare"] = msgspec.structs.replace(served, name="spare", config=spare)
    registry.set_models(list(models.values()))
    for name in ("lost", "told", "spare"):
        registry.note_failure(models[name].key, f"{name} is no graph")
    waiting = "model 'waiting': no replica yet"
    reasons = (waiting, "model 'told': told is no graph", waiting)
    for number in range(2):
        report = Report(False, (), GatewayStatus(reasons=reasons))
        join(Member("gateway", f"gateway-{number}", number)).report = report
    expected = [
        f"gateway gateway-0, gateway-1: {waiting}",
        "gateway gateway-0, gateway-1: model 'told': told is no graph",
        "model 'lost' version 1: lost is no graph",
    ]
    await eventually(lambda: registry.ready() == (False, expected))
    registry.stop()


async def test_a_member_that_fell_silent_is_not_ready(address: str, eventually: Wait) -> None:
    now = [0.0]
    registry = Registry(clock=lambda: now[0])
    await registry.start(address)
    silent = await connect(address)
    silent.notify("register", GATEWAY)
    await eventually(lambda: registry.ready()[1] == ["gateway gateway-0 has not reported yet"])
    silent.notify("report", Report(True, (), GatewayStatus()))
    await eventually(lambda: registry.ready()[0])
    now[0] = STALE_S + 5
    assert registry.ready() == (False, ["gateway gateway-0 has not reported for 15 s"])
    registry.stop()
    await eventually(lambda: silent.closed)


async def test_roles_survive_a_new_registry(
    address: str, join: Join, eventually: Wait, served: ServedModel
) -> None:
    first = Registry()
    await first.start(address)
    first.set_models([served])
    gateway, _replica = join(GATEWAY), join(REPLICA)
    await eventually(lambda: gateway.directories and len(gateway.directories[-1].members) == 2)
    before = gateway.directories[-1].generation
    first.stop()
    await asyncio.sleep(0.05)

    second = Registry(settle_s=3600)
    second.set_models([served])
    await second.start(address)
    await eventually(lambda: len(second.states()) == 2)
    await asyncio.sleep(0.05)
    assert gateway.directories[-1].generation == before, "pushed before its time was over"
    second._push.settled()
    await eventually(lambda: gateway.directories[-1].generation > before)
    # Nothing that was pushed since shows an instance without its replica.
    later = [item for item in gateway.directories if item.generation > before]
    assert all(item.of_role("replica") == [REPLICA] and item.models for item in later)
    assert second.ready() == (True, [])
    second.stop()
    await asyncio.sleep(0)


async def test_what_a_role_had_counted_before_this_registry_is_told_apart(
    registry: Registry, join: Join, eventually: Wait
) -> None:
    for ident, seconds in (("gateway-old", -60), ("gateway-new", 1)):
        role = join(Member("gateway", ident, 10))
        began = registry.started_ns / 1e9 + seconds
        counted = (
            Series("process.start_time", "gauge", "s", (), began),
            Series("vigil.inference.rows", "sum", "{row}", (("model", ident),), 5.0),
        )
        role.report = Report(True, counted, GatewayStatus())
        role.client.report_now()
    rows = "vigil.inference.rows"
    await eventually(lambda: sum(each.name == rows for each in registry.aggregate()) == 2)
    assert [dict(each.attributes) for each in registry.inherited()] == [{"model": "gateway-old"}]


async def test_who_joins_an_instance_that_leaves_hears_of_it(
    registry: Registry, join: Join, eventually: Wait
) -> None:
    first = join(GATEWAY)
    first.report = Report(True, (), GatewayStatus())
    await eventually(lambda: registry.ready()[0])
    registry.leave()
    assert registry.ready() == (False, ["the server is about to stop"])
    await eventually(lambda: first.directories[-1].leaving)
    await first.client.stop()
    second = join(Member("gateway", "gateway-0", 99))
    await eventually(lambda: second.directories and second.directories[-1].leaving)
