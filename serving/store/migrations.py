"""Numbered migrations: each brings a database from one schema to the next, in one transaction.

A migration that was released is never changed; a new one is put behind it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, select, text

from serving.store.failures import StoreFailed
from serving.store.tables import SCHEMA_VERSION

_LOCK: Final = 0x56494749
"""Key of PostgreSQL's lock for migrations, so that of two that start one waits."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE incidents (
            id TEXT PRIMARY KEY,
            instance TEXT NOT NULL,
            model TEXT NOT NULL,
            version TEXT NOT NULL,
            cause TEXT NOT NULL,
            monitor TEXT NOT NULL,
            metric TEXT NOT NULL,
            severity TEXT NOT NULL,
            state TEXT NOT NULL,
            opened_at DOUBLE PRECISION NOT NULL,
            updated_at DOUBLE PRECISION NOT NULL,
            closed_at DOUBLE PRECISION,
            body TEXT NOT NULL
        )""",
        """CREATE UNIQUE INDEX incidents_active ON incidents (instance, model, cause)
            WHERE state IN ('open', 'acknowledged')""",
        "CREATE INDEX incidents_by_time ON incidents (instance, opened_at)",
        """CREATE TABLE deliveries (
            id TEXT PRIMARY KEY,
            instance TEXT NOT NULL,
            receiver TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            body TEXT NOT NULL
        )""",
        """CREATE TABLE watch_states (
            instance TEXT NOT NULL,
            model TEXT NOT NULL,
            cause TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (instance, model, cause)
        )""",
        """CREATE TABLE deployments (
            instance TEXT NOT NULL,
            model TEXT NOT NULL,
            version TEXT NOT NULL,
            revision TEXT NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (instance, model, version, revision)
        )""",
    ),
)


def migrate(connection: Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> int:
    """Bring a database to the newest schema within the connection's transaction.

    Returns:
        The number of migrations that were needed.

    Raises:
        StoreFailed: a newer release has changed it; nothing was done.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    version = _version(connection)
    if version > len(migrations):
        raise StoreFailed("newer")
    for statements in migrations[version:]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.execute(SCHEMA_VERSION.update().values(version=len(migrations)))
    return len(migrations) - version


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(SCHEMA_VERSION.name):
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute(SCHEMA_VERSION.insert().values(version=0))
    return int(connection.execute(select(SCHEMA_VERSION.c.version)).scalar_one())
