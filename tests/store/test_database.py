"""A database that is locked, damaged, full or away says so in a word; a new schema is kept."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from sqlalchemy import event, text

from serving.store import database as module
from serving.store.database import Database, url_of
from serving.store.failures import StoreFailed
from serving.store.incident_store import IncidentStore
from serving.store.migrations import MIGRATIONS, migrate
from serving.store.records import Batch


def reason(work):
    with pytest.raises(StoreFailed) as failed:
        work()
    return failed.value.reason


@pytest.fixture
def kept(tmp_path):
    made = IncidentStore(Database(url_of(None, tmp_path)))
    yield made
    made.close()


def test_it_is_a_file_in_the_data_folder_unless_it_is_named(tmp_path):
    assert url_of(None, tmp_path).database == f"{tmp_path}/vigil.db"
    assert url_of("sqlite:////var/x.db", tmp_path).database == "/var/x.db"
    assert url_of("postgresql://u@h/d", tmp_path).drivername == "postgresql+psycopg"


def test_it_writes_ahead_and_is_seen_by_nobody_else(tmp_path):
    folder = tmp_path / "data"
    Database(url_of(None, folder)).read().__enter__()
    assert folder.stat().st_mode & 0o077 == 0
    with sqlite3.connect(folder / "vigil.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_lock_of_somebody_else(kept, tmp_path, incident, monkeypatch):
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    kept.load(0.0)
    with sqlite3.connect(tmp_path / "vigil.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert reason(lambda: kept.save(Batch({"a": incident()}))) == "locked"
        assert kept.load(0.0).active == ()  # who reads waits for nobody
        other.execute("ROLLBACK")
    kept.save(Batch({"a": incident()}))
    other.close()


def test_it_waits_for_a_lock_that_is_given_up_in_time(kept, tmp_path, incident):
    kept.load(0.0)
    other = sqlite3.connect(tmp_path / "vigil.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.05, other.execute, ["ROLLBACK"])
    timer.start()
    kept.save(Batch({"a": incident()}))
    timer.join()
    other.close()


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
def test_a_damaged_file_is_kept_and_a_new_one_begins(kept, tmp_path, incident, content):
    file = tmp_path / "vigil.db"
    kept.save(Batch({"a": incident()}))
    kept.close()
    before = file.read_bytes()
    file.write_bytes(content or before[:4096] + b"\xa5" * (len(before) - 4096))
    assert reason(lambda: kept.load(0.0)) == "damaged"
    aside = kept.set_aside()
    assert aside.endswith(".unreadable")
    assert aside.startswith(str(file))
    assert kept.load(0.0).active == ()
    kept.save(Batch({"a": incident()}))


def test_there_is_nothing_to_put_aside_where_there_is_no_file(tmp_path):
    assert Database(url_of(None, tmp_path)).set_aside() is None
    assert Database(url_of("postgresql://u@h/d", tmp_path)).set_aside() is None


def test_a_full_disk(kept, tmp_path, incident):
    kept.load(0.0)
    with kept._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    many = {str(n): incident(str(n), cause=str(n), advice="x" * 1000) for n in range(100)}
    assert reason(lambda: kept.save(Batch(many))) == "full"
    assert kept.load(0.0).active == ()  # all of a batch or nothing


def test_it_is_away(tmp_path):
    folder = tmp_path / "not a folder"
    folder.write_bytes(b"")
    assert reason(lambda: IncidentStore(Database(url_of(None, folder))).load(0.0)) == "away"
    nobody = "postgresql://u:a-password@127.0.0.1:1/d"
    with pytest.raises(StoreFailed) as failed:
        IncidentStore(Database(url_of(nobody, tmp_path))).load(0.0)
    assert failed.value.reason == "away"
    assert "a-password" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_server_whose_machine_is_gone_is_noticed_in_seconds(tmp_path):
    given = {}

    def connect(_dialect, _record, _args, parameters):
        given.update(parameters)
        raise OSError("enough")

    engine = module._engine(url_of("postgresql://u@h/d", tmp_path))
    event.listen(engine, "do_connect", connect)
    with pytest.raises(OSError, match="enough"):
        engine.connect()
    assert given["tcp_user_timeout"] == 5000
    idle, interval, count = (given[f"keepalives_{n}"] for n in ("idle", "interval", "count"))
    assert idle + interval * count <= 15


def test_a_newer_schema_is_left_alone(kept, tmp_path):
    kept.load(0.0)
    kept.close()
    with sqlite3.connect(tmp_path / "vigil.db") as other:
        other.execute("UPDATE schema_version SET version = 99")
    other.close()
    assert reason(lambda: kept.load(0.0)) == "newer"


def test_migrations_go_on_where_they_were_and_fail_as_a_whole(store):
    more = (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)",))
    wrong = (*more, ("CREATE TABLE one_more (x INTEGER)", "this is no SQL"))
    database = store._database
    store.load(0.0)
    with database.write() as connection:
        assert migrate(connection) == 0
        assert migrate(connection, more) == 1
        connection.execute(text("INSERT INTO later VALUES (1)"))

    def fail():
        with database.write() as connection:
            migrate(connection, wrong)

    assert reason(fail) in ("refused", "away")
    with database.write() as connection:
        assert migrate(connection, (*more, ("CREATE TABLE one_more (x INTEGER)",))) == 1
