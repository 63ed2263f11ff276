"""One database: opened and migrated when it is first used; errors become `StoreFailed`."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url

from serving.store.driver_errors import reason_of
from serving.store.failures import StoreFailed
from serving.store.migrations import migrate

BUSY_S: Final = 2.0
"""How long a statement waits for a lock that somebody else holds."""
ANSWER_S: Final = 5.0
"""What PostgreSQL may take to connect, and for a statement."""
_WRITES: Final = "vigil_writes"


def url_of(store_url: str | None, data_dir: Path) -> URL:
    """Return the URL of an instance's database.

    Args:
        store_url: as `vigil.yaml` has it; None: the file `vigil.db` in `data_dir`.
        data_dir: the instance's folder.
    """
    if store_url is None:
        return URL.create("sqlite", database=str(data_dir.absolute() / "vigil.db"))
    url = make_url(store_url)
    return url if url.drivername == "sqlite" else url.set(drivername="postgresql+psycopg")


class Database:
    """A database that is opened when it is needed. One thread at a time.

    Args:
        url: see `url_of`.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine: Engine | None = None

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection to read from.

        Raises:
            StoreFailed: it cannot be done now.
        """
        with _told(), self._opened().connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction: all that is written with it is kept, or nothing.

        Raises:
            StoreFailed: it cannot be done now, and nothing was kept.
        """
        with _told(), self._opened().connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let go of it; the next use opens it again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def set_aside(self) -> Path | None:
        """Rename a damaged file so that a new one begins; None where there is none to rename.

        Raises:
            StoreFailed: it cannot be renamed.
        """
        self.close()
        if self._file is None or not self._file.exists():
            return None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept = self._file.with_name(f"{self._file.name}.{stamp}.unreadable")
        with _told():
            for suffix in ("-wal", "-shm", ""):
                path = self._file.with_name(self._file.name + suffix)
                if path.exists():
                    path.rename(f"{kept}{suffix}")
        return kept

    @property
    def _file(self) -> Path | None:
        database = self._url.database if self._url.drivername == "sqlite" else None
        return Path(database) if database else None

    def _opened(self) -> Engine:
        if self._engine is None:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            engine = _engine(self._url)
            try:
                with engine.connect() as connection:
                    connection = connection.execution_options(**{_WRITES: True})
                    with connection.begin():
                        migrate(connection)
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
        return self._engine


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Make what a driver or the disk says a `StoreFailed`."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError, sqlite3.Error, ImportError) as error:
        # Not the error itself: it may quote the URL, with its password, and rows.
        raise StoreFailed(reason_of(error)) from None


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        milliseconds = int(ANSWER_S * 1000)
        return create_engine(
            url,
            pool_size=1,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": int(ANSWER_S),
                # A server whose machine is gone says nothing more; TCP alone waits for minutes.
                "tcp_user_timeout": milliseconds,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            },
        )
    engine = create_engine(url, pool_size=1, hide_parameters=True, connect_args={"timeout": BUSY_S})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # The driver would begin transactions late, and commit before every change of the schema.
    connection.isolation_level = None
    for setting in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where somebody else writes.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
