"""Who is there, without sockets: seats, what cannot be read, and silence."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from serving.channel.connection import Connection
from serving.channel.messages.directory import Member
from serving.channel.messages.reports import (
    ExplainerStatus,
    GatewayStatus,
    ReplicaStatus,
    Report,
    RoleStatus,
)
from serving.control.members import STALE_S, Members
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.models import REPLICA_RESTARTS

GATEWAY = Member("gateway", "g", 1)
REPLICA = Member("replica", "r", 2, "unix:/r", "m", "1", revision="a")


class Lease:
    """A connection that notes its end."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def members(clock: Clock) -> Members:
    return Members(SeriesSet(), clock)


def lease() -> Connection:
    return cast(Connection, Lease())


def encoded(status: RoleStatus, *, ready: bool = True) -> bytes:
    return msgspec.msgpack.encode(Report(ready, (), status))


def test_a_seat_is_held_by_the_newest_connection(members: Members) -> None:
    old, new = lease(), lease()
    assert members.register(REPLICA, old) == []
    assert members.register(REPLICA, new) == [REPLICA]
    assert cast(Lease, old).aborted
    assert (old in members, new in members) == (False, True)
    assert members.vacate(old) is None
    assert list(members) == [REPLICA]
    assert members.holds(REPLICA.key)
    assert members.vacate(new) == REPLICA
    assert not members.holds(REPLICA.key)


def test_a_connection_that_registers_as_somebody_else_loses_its_seat(members: Members) -> None:
    one, other = lease(), lease()
    members.register(GATEWAY, one)
    members.register(REPLICA, other)
    assert members.register(REPLICA, one) == [GATEWAY, REPLICA]
    assert list(members) == [REPLICA]
    assert members.connections("gateway", "replica") == [one]


def test_what_was_said_last_counts_until_a_member_is_silent(members: Members, clock: Clock) -> None:
    connection = lease()
    members.register(GATEWAY, connection)
    (state,) = members.states()
    assert (state.ready, state.age_s, state.silent, state.status) == (False, None, True, None)
    said = GatewayStatus(7)
    assert members.reported(connection, encoded(said)) == GATEWAY
    clock.now = STALE_S - 1
    (state,) = members.states()
    assert (state.ready, state.age_s, state.silent, state.status) == (True, 9.0, False, said)
    assert members.gateway_statuses(fresh=True) == [said]
    clock.now = STALE_S
    (state,) = members.states()
    assert (state.ready, state.silent, state.status) == (False, True, said)
    assert members.gateway_statuses(fresh=True) == []
    assert members.gateway_statuses() == [said]


def test_only_replicas_are_busy(members: Members) -> None:
    gateway, replica = lease(), lease()
    members.register(GATEWAY, gateway)
    members.register(REPLICA, replica)
    assert [state.busy_s for state in members.states()] == [0.0, 0.0]
    members.reported(gateway, encoded(GatewayStatus()))
    members.reported(replica, encoded(ReplicaStatus(1.5)))
    assert {state.member.id: state.busy_s for state in members.states()} == {"g": 0.0, "r": 1.5}


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode("nothing"),
        msgspec.msgpack.encode({"ready": True, "series": []}),
        msgspec.msgpack.encode({"ready": True, "series": [], "status": {"role": "emperor"}}),
        encoded(ExplainerStatus()),  # of another role
    ],
)
def test_a_report_that_cannot_be_read_is_silence_and_one_line(
    members: Members, clock: Clock, report: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connection = lease()
    members.register(GATEWAY, connection)
    members.reported(connection, encoded(GatewayStatus(7)))
    clock.now = 3.0
    for _ in range(3):
        assert members.reported(connection, report) is None
    (state,) = members.states()
    assert (state.member, state.age_s, state.status) == (GATEWAY, 3.0, GatewayStatus(7))
    (line,) = caplog.messages
    assert line.startswith("a report of g cannot be read and is ignored")
    members.reported(connection, encoded(GatewayStatus(8)))
    assert members.gateway_statuses() == [GatewayStatus(8)]


def test_a_new_process_of_a_known_name_is_a_restart(members: Members) -> None:
    first, second = lease(), lease()
    members.register(REPLICA, first)
    members.vacate(first)
    members.register(msgspec.structs.replace(REPLICA, pid=3), second)
    assert members.restarts == {"r": 1}
    counted: Any = {each.name: each.value for each in members._series.snapshot()}
    assert counted[REPLICA_RESTARTS.name] == 1
