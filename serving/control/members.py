"""Who is there: roles that have registered, what each said last, and how often it was replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from serving.channel.connection import Connection
from serving.channel.messages.directory import Member, ModelKey, RoleName
from serving.channel.messages.reports import (
    GatewayStatus,
    ReplicaStatus,
    Report,
    RoleStatus,
    role_of,
)
from serving.control.fleet_totals import FleetTotals
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report as log
from serving.telemetry.metrics.models import REPLICA_RESTARTS
from serving.telemetry.series import Series

STALE_S: Final = 10.0
"""Seconds without a report after which what a member said last is not relied on."""

_decode_report = msgspec.msgpack.Decoder(Report).decode


class MemberState(msgspec.Struct, frozen=True):
    """A member as the control plane sees it now.

    Attributes:
        member: what it registered as.
        ready: its own verdict; false while it has not reported, or not lately.
        age_s: seconds since its last report; None before the first.
        restarts: how many times its id came back as a new process.
        status: what its last report said about itself; None before the first.
    """

    member: Member
    ready: bool
    age_s: float | None
    restarts: int
    status: RoleStatus | None

    @property
    def silent(self) -> bool:
        """Whether it has not reported yet, or not lately."""
        return self.age_s is None or self.age_s >= STALE_S

    @property
    def busy_s(self) -> float:
        """Seconds for which a replica has computed one batch without any progress."""
        return self.status.busy_s if isinstance(self.status, ReplicaStatus) else 0.0


class _Seat:
    """One registered member and the connection that is its lease."""

    def __init__(self, member: Member, connection: Connection) -> None:
        self.member = member
        self.connection = connection
        self.report: Report | None = None
        self.reported_at = 0.0
        self.refused: dict[str, str] = {}
        """What is wrong with messages that could not be read, by what they should have been."""


class Members:
    """Everybody who is registered, one seat per id.

    Args:
        series: where restarts are counted.
        clock: monotonic seconds.
        since: when the control plane began, Unix seconds.
    """

    def __init__(self, series: SeriesSet, clock: Callable[[], float], since: float = 0.0) -> None:
        self._series = series
        self._clock = clock
        self._seats: dict[str, _Seat] = {}
        self._ids: dict[Connection, str] = {}
        self._totals = FleetTotals(since)
        self.restarts: Final[dict[str, int]] = {}

    # -- what happens -------------------------------------------------------------------

    def register(self, member: Member, connection: Connection) -> list[Member]:
        """Give a member its seat; returns who has lost one by that."""
        displaced = [self.vacate(connection)]
        before = self._seats.get(member.id)
        if before is not None:
            # The newest connection is right; the old one may be half-open and never close.
            displaced.append(self.vacate(before.connection))
            before.connection.abort()
        self._seats[member.id] = _Seat(member, connection)
        self._ids[connection] = member.id
        if member.role == "replica":
            # From zero on, so that the first restart is an increase that an alert can see.
            self._restart_series(member).add(0)
        if self._totals.join(member.id, member.pid):
            self._count_restart(member)
        return [gone for gone in displaced if gone is not None]

    def vacate(self, connection: Connection) -> Member | None:
        """Take the seat away that a connection was the lease of; returns who had it."""
        ident = self._ids.pop(connection, None)
        if ident is None:
            return None
        member = self._seats.pop(ident).member
        self._totals.leave(ident, member.pid)
        return member

    def reported(self, connection: Connection, encoded: bytes | memoryview) -> Member | None:
        """Take in a member's report; returns who has sent it, None where it is refused.

        One that cannot be read costs the member no more than its silence: it keeps its seat.
        """
        seat = self._seats[self._ids[connection]]
        try:
            report = _decode_report(encoded)
            if (role := role_of(report.status)) != seat.member.role:
                raise msgspec.ValidationError(f"it is the report of a {role}")
        except msgspec.DecodeError as error:
            self.unreadable(connection, "report", error)
            return None
        seat.report, seat.reported_at = report, self._clock()
        seat.refused.pop("report", None)
        if self._totals.report(seat.member.id, report.series, report.told_before):
            self._count_restart(seat.member)
        return seat.member

    def unreadable(self, connection: Connection, what: str, error: msgspec.DecodeError) -> None:
        """Log that a member's message cannot be read: once, and not with each that follows.

        Args:
            connection: the member's.
            what: what it should have been.
            error: why it cannot be read.
        """
        seat = self._seats[self._ids[connection]]
        member = seat.member
        if seat.refused.get(what) != str(error):
            seat.refused[what] = str(error)
            log(
                Event.MEMBER_UNREADABLE,
                f"a {what} of {member.id} cannot be read and is ignored, as are others like it; "
                "is it of another release?",
                error=error,
                process=member.id,
                process_pid=member.pid,
            )

    def _count_restart(self, member: Member) -> None:
        restarts = self.restarts[member.id] = self.restarts.get(member.id, 0) + 1
        log(
            Event.PROCESS_REPLACED,
            f"{member.id} is a new process: the one before it ended",
            model=member.model,
            version=member.version,
            process=member.id,
            process_pid=member.pid,
            restarts=restarts,
        )
        if member.role == "replica":
            self._restart_series(member).add(1)

    def _restart_series(self, member: Member) -> SumSeries:
        return self._series.sum(REPLICA_RESTARTS, model=member.model, version=member.version)

    # -- who is there -------------------------------------------------------------------

    def __contains__(self, connection: Connection) -> bool:
        """Whether a connection is the lease of a member."""
        return connection in self._ids

    def __iter__(self) -> Iterator[Member]:
        """Yield every member, those first that are there for longest."""
        return (seat.member for seat in self._seats.values())

    def member(self, connection: Connection) -> Member:
        """Return the member whose lease a connection is.

        Raises:
            KeyError: it is nobody's.
        """
        return self._seats[self._ids[connection]].member

    def holds(self, key: ModelKey) -> bool:
        """Whether a member serves or explains a revision."""
        return any(member.key == key for member in self)

    def connections(self, *roles: RoleName) -> list[Connection]:
        """Return the connections to all members of these roles."""
        return [seat.connection for seat in self._seats.values() if seat.member.role in roles]

    def states(self) -> list[MemberState]:
        """Return every member as it is now, sorted by role and id."""
        seats = sorted(self._seats.values(), key=lambda seat: (seat.member.role, seat.member.id))
        return [self._state(seat) for seat in seats]

    def gateway_statuses(self, *, fresh: bool = False) -> list[GatewayStatus]:
        """Return what each gateway that has reported said about itself last.

        Args:
            fresh: leave out those that have not reported lately.
        """
        now = self._clock()
        return [
            seat.report.status
            for seat in self._seats.values()
            if seat.report is not None
            and isinstance(seat.report.status, GatewayStatus)
            and not (fresh and now - seat.reported_at >= STALE_S)
        ]

    def totals(self, more: Iterable[Series]) -> list[Series]:
        """Return one series per name and attributes over everybody, dead or alive, and `more`."""
        return self._totals.aggregate(more)

    def inherited(self) -> list[Series]:
        """Return what members had counted for a control plane before; see `FleetTotals`."""
        return self._totals.inherited()

    def _state(self, seat: _Seat) -> MemberState:
        restarts = self.restarts.get(seat.member.id, 0)
        report = seat.report
        if report is None:
            return MemberState(seat.member, False, None, restarts, None)
        age = self._clock() - seat.reported_at
        ready = report.ready and age < STALE_S
        return MemberState(seat.member, ready, age, restarts, report.status)
