"""Databases in a folder of the test, and one of PostgreSQL where there is a server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from loadtest.postgres import postgres, programs
from serving.channel.messages.incidents import Evidence, Incident, Measured
from serving.store.database import Database, url_of
from serving.store.incident_store import IncidentStore

SERVER = "VIGIL_TEST_POSTGRESQL"
"""URL of a PostgreSQL whose user may create databases, for these tests."""


@pytest.fixture
def incident() -> Callable[..., Incident]:
    def make(ident: str = "a", **more: Any) -> Incident:
        evidence = Evidence(leading=Measured(metric="psi", subject="größe \0"), since=1.0)
        given: dict[str, Any] = {
            "id": ident, "model": "m", "version": "1", "cause": "drift", "monitor": "drift",
            "metric": "psi", "severity": "info", "state": "open", "opened_at": 10.0,
            "updated_at": 11.0, "summary": "s", "advice": "a", "first": evidence,
            "evidence": evidence,
        }  # fmt: skip
        return Incident(**{**given, **more})

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server: a given one, or one that is started here and ends with the tests."""
    if given := os.environ.get(SERVER):
        yield given
        return
    found = programs()
    if found is None:
        pytest.skip(f"no PostgreSQL here; give the URL of one in {SERVER}")
    with postgres(found) as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IncidentStore]:
    if request.param == "sqlite":
        made = IncidentStore(Database(url_of(None, tmp_path)))
        yield made
        made.close()
        return
    server = make_url(request.getfixturevalue("postgresql"))
    name = f"vigil_{uuid.uuid4().hex}"
    with _autocommit(server) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = server.set(database=name).render_as_string(hide_password=False)
    made = IncidentStore(Database(url_of(url, tmp_path)))
    yield made
    made.close()
    with _autocommit(server) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")


def _autocommit(url: Any) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    made = url.set(drivername="postgresql+psycopg")
    return create_engine(made, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
