import os
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from serving.errors import InvalidInput
from serving.log.export import export

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def filled(log, rows, wait):
    """A log of 3 rows in a file and 3 in a stream; `in_x` is 0, 1, 2 in both, a minute apart."""
    first = log.writer()
    first.offer(rows(1, 2))
    first.close()
    second = log.writer()
    second.offer(rows(3, time=NOON.timestamp() + 60))
    wait(lambda: second.counts().stored == 3)
    return log


def test_a_row_is_found_by_its_clients_id_and_index_in_files_and_streams(filled):
    reader = filled.reader()
    assert [row["in_x"] for row in reader.find("m", "r1")] == [1, 2]
    assert [row["in_x"] for row in reader.find("m", "r1", 1)] == [2]
    assert [row["in_x"] for row in reader.find("m", "r2", 2)] == [2]
    assert reader.find("m", "r1", 2) == reader.find("m", "r9") == reader.find("n", "r1") == []
    [row] = reader.find("m", "r0")
    assert (row["model"], row["version"], row["date"]) == ("m", "1", "2026-11-30")


def test_a_row_is_found_by_the_id_of_its_batch(filled):
    reader = filled.reader()
    [one] = reader.find("m", "r1", 1)
    identity = str(UUID(bytes=one["id"]))
    assert [row["in_x"] for row in reader.find("m", identity)] == [0, 1, 2]
    assert reader.find("m", identity, 2) == [one]


def test_a_clients_id_that_comes_again_is_found_each_time(log, rows):
    for _ in range(2):
        writer = log.writer()
        for _ in range(2):
            writer.offer(rows(1, requests={"client_ids": ["same"]}))
            writer.offer(rows(1))
        writer.close()
    assert len(log.parts()) == 2
    assert len(log.reader().find("m", "same")) == 4


def test_a_request_over_several_row_groups_is_found_whole(log, rows):
    writer = log.writer()
    writer.offer(rows(40_000, 1))
    writer.offer(rows(2))
    writer.close()
    [part] = log.parts()
    assert pq.ParquetFile(part).metadata.num_row_groups == 3
    reader = log.reader()
    assert len(reader.find("m", "r0")) == 40_000
    assert [row["in_x"] for row in reader.find("m", "r0", 39_999)] == [39_999]
    assert len(reader.find("m", "r2")) == 2


def test_ids_of_equal_hash_are_told_apart(log, rows, monkeypatch):
    monkeypatch.setattr("serving.log.id_index.hash_client", lambda text: 7)
    seven = np.uint64(7 << 32)
    monkeypatch.setattr("serving.log.id_index.crc_pairs", lambda ids: np.full(len(ids), seven))
    writer = log.writer()
    writer.offer(rows(1, 1, 1))
    writer.close()
    assert [row["client_id"] for row in log.reader().find("m", "r1")] == ["r1"]


@pytest.mark.parametrize("content", [None, b"", b"\0" * 9, b"\xff" * 8])
def test_without_a_good_index_a_row_is_found_all_the_same(filled, content):
    [index] = filled.folder.rglob("*.ids")
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    assert [row["in_x"] for row in filled.reader().find("m", "r1", 1)] == [2]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [0, 0, 1, 1, 2, 2]),
        ({"where": "in_x >= 1 AND client_id = 'r2'"}, [1, 2]),
        ({"where": "in_x >= 1 -- a comment"}, [1, 1, 2, 2]),
        ({"where": "false) OR (true"}, [0, 0, 1, 1, 2, 2]),
        ({"where": "time > now() - INTERVAL 100 YEAR AND out_y[1] = 0.5"}, [0, 0, 1, 1, 2, 2]),
        ({"where": "len(decisions) > 0"}, []),
        ({"since": NOON + timedelta(seconds=1)}, [0, 1, 2]),
        ({"until": NOON + timedelta(seconds=60)}, [0, 1, 2]),
        ({"since": NOON, "until": NOON}, []),
        ({"since": NOON + timedelta(days=1)}, []),
        ({"until": NOON - timedelta(days=1)}, []),
    ],
)
def test_conditions_and_times_choose_rows(filled, given, found):
    assert sorted(filled.reader().scan("m", **given).read_all()["in_x"].to_pylist()) == found


def test_columns_and_a_limit(filled):
    table = filled.reader().scan("m", columns=["client_id", "in_x"], limit=2).read_all()
    assert table.column_names == ["client_id", "in_x"]
    assert table.num_rows == 2


def test_a_model_without_rows_has_none(log):
    for where in ("true", "in_x > 0"):
        table = log.reader().scan("m", where).read_all()
        assert table.num_rows == 0
        assert {"model", "id", "client_id", "time", "outcome"} <= set(table.column_names)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("in_y > 0", "in_y.*there is .*in_x"),
        ("in_x >", "where: 'in_x >' is no condition on the log's columns: syntax error"),
        ("client_id::int > 0", "Could not convert string 'r"),
        ("true) ; COPY rows TO '/tmp/x.csv' --", "where: "),
        ("true); DROP VIEW rows; SELECT (1", "more than one condition"),
        ("in_x IN (SELECT 1 FROM read_csv('/etc/passwd'))", "file system operations are disabled"),
        ("EXISTS (SELECT 1 FROM '/etc/passwd')", "where: "),
        ("", "where: '' is no condition"),
    ],
)
def test_a_wrong_condition_is_told_in_a_sentence(filled, where, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        filled.reader().scan("m", where).read_all()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_export_has_the_same_rows(filled, tmp_path, suffix):
    path = tmp_path / f"it's{suffix}"
    assert export(filled.reader().scan("m", "in_x > 0"), path) == 4
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    assert sorted(read(path)["in_x"]) == [1, 1, 2, 2]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([path.name, "log"])


@pytest.mark.parametrize("name", ["x.xlsx", "x", "missing/x.csv"])
def test_an_export_that_cannot_be_is_told_in_a_sentence(filled, tmp_path, name):
    with pytest.raises(InvalidInput, match=name) as caught:
        export(filled.reader().scan("m"), tmp_path / name)
    assert "\n" not in caught.value.message


def test_an_export_that_breaks_off_leaves_nothing(filled, tmp_path):
    with pytest.raises(InvalidInput, match="Could not convert"):
        export(filled.reader().scan("m", "client_id::int > 0"), tmp_path / "x.csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_pandas_and_duckdb_read_the_files_by_themselves(filled):
    folder = filled.folder / "predictions"
    assert sorted(pd.read_parquet(folder)["in_x"]) == [0, 1, 2]
    query = f"SELECT model, count(*) FROM '{folder}/*/*/*/*.parquet' GROUP BY ALL"
    assert duckdb.sql(query).fetchall() == [("m", 3)]


def test_a_reader_sees_every_row_once_while_streams_become_files(log, rows, wait, small):
    writer = log.writer(limits=small(max_rows=20))
    stop = threading.Event()

    def write():
        while not stop.is_set():
            writer.offer(rows(5))
            wait(lambda: writer.counts().waiting == 0 or stop.is_set())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        reader = log.reader()
        while writer.counts().parts < 8:
            before = writer.counts().stored
            found = reader.scan("m").read_all()
            keys = set(zip(*(found[name].to_pylist() for name in ("id", "row")), strict=True))
            assert len(keys) == found.num_rows
            assert before <= len(keys) <= writer.counts().offered
    finally:
        stop.set()
        thread.join()


def test_a_file_that_retention_deletes_meanwhile_is_left_out(filled, monkeypatch):
    reader = filled.reader()
    snapshot = reader.snapshot("m")
    monkeypatch.setattr(reader, "snapshot", lambda model: snapshot)
    [part] = filled.parts()
    part.unlink()
    assert reader.find("m", "r0") == []
    assert reader.scan("m").read_all().num_rows == 3


def test_files_of_others_in_the_folder_are_no_parts(filled):
    folder = filled.parts()[0].parent
    for name in ("part-x.parquet.tmp", ".part-y.parquet.unfinished", "notes.parquet"):
        (folder / name).write_bytes(os.urandom(10))
    assert filled.table().num_rows == 6


def test_numbers_come_back_bit_by_bit(log, rows):
    numbers = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
    writer = log.writer()
    writer.offer(rows(4, inputs={"x": numbers}))
    writer.close()
    found = log.table().sort_by("row")["in_x"].to_numpy()
    assert found.tobytes() == numbers.tobytes()
