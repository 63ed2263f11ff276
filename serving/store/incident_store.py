"""Incidents and what belongs to them in a database: loaded at a start, saved in batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Select, and_, delete, func, insert, select, tuple_

from serving.channel.messages.incidents import ACTIVE, Incident, State
from serving.store.database import Database
from serving.store.records import Batch, Closed, Delivery, Deployment, Kept, WatchState
from serving.store.tables import DELIVERIES, DEPLOYMENTS, INCIDENTS, WATCH_STATES
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

T = TypeVar("T")
_MOST_CLOSED: Final = 100_000
_CHUNK: Final = 500


class IncidentStore:
    """The rows of one instance. One thread at a time; every method may raise `StoreFailed`.

    Args:
        database: where they are.
        instance: tells the rows apart from those of other instances in the same database.
    """

    def __init__(self, database: Database, instance: str = "") -> None:
        self._database = database
        self._instance = instance

    def load(self, since: float) -> Kept:
        """Return all that a start goes on from.

        Args:
            since: incidents that were closed before this do not count any more.
        """
        mine, table = INCIDENTS.c.instance == self._instance, INCIDENTS
        over = and_(mine, table.c.state.not_in(ACTIVE), table.c.closed_at >= since)
        latest = (
            select(table.c.model, table.c.cause, func.max(table.c.closed_at))
            .where(over)
            .group_by(table.c.model, table.c.cause)
        )
        of_rule = (table.c.id, table.c.model, table.c.monitor, table.c.metric, table.c.state)
        with self._database.read() as connection:
            active = select(table.c.body).where(mine, table.c.state.in_(ACTIVE))
            key = tuple_(table.c.model, table.c.cause, table.c.closed_at)
            last = select(table.c.body).where(over, key.in_(latest))
            closed = (
                select(*of_rule, table.c.closed_at)
                .where(over)
                .order_by(table.c.closed_at)
                .limit(_MOST_CLOSED)
            )
            waiting = (
                select(DELIVERIES.c.body)
                .where(DELIVERIES.c.instance == self._instance)
                .order_by(DELIVERIES.c.created_at)
            )
            states = select(WATCH_STATES.c.body).where(WATCH_STATES.c.instance == self._instance)
            served = select(DEPLOYMENTS).where(DEPLOYMENTS.c.instance == self._instance)
            return Kept(
                _decoded(connection, active, Incident),
                _decoded(connection, last, Incident),
                tuple(Closed(*row) for row in connection.execute(closed)),
                _decoded(connection, waiting, Delivery),
                _decoded(connection, states, WatchState),
                tuple(
                    Deployment(
                        model=row.model, version=row.version, revision=row.revision, at=row.at
                    )
                    for row in connection.execute(served)
                ),
            )

    def save(self, batch: Batch) -> None:
        """Save all of a batch, or nothing."""
        with self._database.write() as connection:
            if batch.incidents:
                self._save_incidents(connection, list(batch.incidents.values()))
            if batch.deliveries:
                for idents in _chunks(batch.deliveries):
                    connection.execute(delete(DELIVERIES).where(DELIVERIES.c.id.in_(idents)))
                _insert(connection, DELIVERIES, map(self._delivery, _left(batch.deliveries)))
            if batch.states:
                whose = tuple_(WATCH_STATES.c.model, WATCH_STATES.c.cause)
                mine = WATCH_STATES.c.instance == self._instance
                for keys in _chunks(batch.states):
                    connection.execute(delete(WATCH_STATES).where(mine, whose.in_(keys)))
                _insert(connection, WATCH_STATES, map(self._state, _left(batch.states)))
            for served in batch.deployments.values():
                row = {"instance": self._instance, **msgspec.structs.asdict(served)}
                same = and_(*(DEPLOYMENTS.c[name] == row[name] for name in _OF_DEPLOYMENT))
                connection.execute(delete(DEPLOYMENTS).where(same))
                connection.execute(insert(DEPLOYMENTS), row)

    def _save_incidents(self, connection: Connection, incidents: Sequence[Incident]) -> None:
        for idents in _chunks(each.id for each in incidents):
            connection.execute(delete(INCIDENTS).where(INCIDENTS.c.id.in_(idents)))
        for active in _chunks(each.key for each in incidents if each.active):
            # There is none, unless a process that went on without its store has opened it anew.
            whose = tuple_(INCIDENTS.c.model, INCIDENTS.c.cause)
            older = and_(
                INCIDENTS.c.instance == self._instance,
                whose.in_(active),
                INCIDENTS.c.state.in_(ACTIVE),
            )
            connection.execute(delete(INCIDENTS).where(older))
        _insert(connection, INCIDENTS, map(self._incident, incidents))

    def find(self, ident: str) -> Incident | None:
        """Return an incident; None where there is none of this id."""
        wanted = INCIDENTS.c.id == ident, INCIDENTS.c.instance == self._instance
        with self._database.read() as connection:
            found = _decoded(connection, select(INCIDENTS.c.body).where(*wanted), Incident)
        return found[0] if found else None

    def closed(self, states: Sequence[State], model: str, limit: int) -> tuple[Incident, ...]:
        """Return incidents that are over, the newest first.

        Args:
            states: any of these.
            model: of this one; empty: of all.
            limit: how many at most.
        """
        table = INCIDENTS
        wanted = [table.c.instance == self._instance, table.c.state.in_(states)]
        if model:
            wanted.append(table.c.model == model)
        asked = select(table.c.body).where(*wanted).order_by(table.c.opened_at.desc()).limit(limit)
        with self._database.read() as connection:
            return _decoded(connection, asked, Incident)

    def forget_closed(self, before: float) -> int:
        """Delete incidents that were over before a time; returns how many."""
        table = INCIDENTS
        old = and_(
            table.c.instance == self._instance,
            table.c.state.not_in(ACTIVE),
            table.c.closed_at < before,
        )
        with self._database.write() as connection:
            return connection.execute(delete(table).where(old)).rowcount

    def set_aside(self) -> str | None:
        """Put a damaged file aside; returns its new path, None where there is no file."""
        kept = self._database.set_aside()
        return None if kept is None else str(kept)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    # -- rows ---------------------------------------------------------------------------

    def _incident(self, incident: Incident) -> dict[str, Any]:
        columns = {name: getattr(incident, name) for name in _OF_INCIDENT}
        return {**columns, "instance": self._instance, "body": _encoded(incident)}

    def _delivery(self, delivery: Delivery) -> dict[str, Any]:
        columns = {name: getattr(delivery, name) for name in ("id", "receiver", "created_at")}
        return {**columns, "instance": self._instance, "body": _encoded(delivery)}

    def _state(self, state: WatchState) -> dict[str, Any]:
        whose = {"instance": self._instance, "model": state.model, "cause": state.cause}
        return {**whose, "body": _encoded(state)}


_OF_INCIDENT: Final = tuple(
    column.name for column in INCIDENTS.c if column.name not in ("instance", "body")
)
_OF_DEPLOYMENT: Final = ("instance", "model", "version", "revision")


def _encoded(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield values in lists that a statement may hold: databases bound its parameters."""
    left = iter(values)
    while chunk := list(itertools.islice(left, _CHUNK)):
        yield chunk


def _left(changes: dict[Any, T | None]) -> list[T]:
    return [each for each in changes.values() if each is not None]


def _insert(connection: Connection, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    if listed := list(rows):
        connection.execute(insert(table), listed)


def _decoded(connection: Connection, asked: Select[Any], kind: type[T]) -> tuple[T, ...]:
    """Return what the bodies hold; one that cannot be read costs the others nothing."""
    found = []
    for (body,) in connection.execute(asked):
        try:
            found.append(msgspec.json.decode(body, type=kind))
        except msgspec.DecodeError as error:
            said = f"a row of the store is no {kind.__name__} of this release, and is left out"
            report(Event.STATE_UNREADABLE, said, error=error)
    return tuple(found)
