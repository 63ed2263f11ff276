"""What the prediction log costs, and how fast one row is found again.

`python -m loadtest.prediction_log --rows 10000000 --write` fills a log of 30 features a row by its
own writer, on one core, then looks for ids. Beside it: DuckDB over the same Parquet files without
an index, and with bloom filters in them, and the same rows in SQLite with an index.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest import record
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.open_streams import RollLimits
from serving.log.reader import LogReader
from serving.log.retention import Retention
from serving.log.roll import ROW_GROUP
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows, ModelLog
from serving.log.store import open_store
from serving.log.writer import LogLimits, LogWriter

FEATURES = [f"f{number}" for number in range(30)]
LOOKS = 30
PUSH = 1000
_LIMITS = LogLimits(512 << 20, 64 << 30, RollLimits(1 << 30, 100_000, 3600))


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling a log has cost: rows, seconds of processor time, and ids to look for."""

    rows: int
    writer_s: float
    offer_s: float
    batches: int
    ids: Sequence[str]


def batches(rows: int, size: int) -> Iterator[LogRows]:
    """Yield batches of one-row requests; features repeat after 1,000 batches, ids do not."""
    made = np.random.default_rng(0).normal(size=(1000, size, len(FEATURES))).astype(np.float32)
    for number in range(rows // size):
        clients = [f"client-{number}-{row}" for row in range(size)]
        requests = LoggedRequests(
            clients, [1] * size, ["ok"] * size, [0.001] * size, [0.002] * size
        )
        yield LogRows(
            "m", "1", LoggedBatches(new_record_id(), [size], [time.time()], [0.001]), requests,
            {"x": made[number % 1000]}, {"y": made[number % 1000, :, :2]}, revision="1",
            predicted=_classes,
        )  # fmt: skip


def _classes(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    classes: np.ndarray = outputs["y"].argmax(axis=1)
    return classes


def fill(folder: Path, rows: int, size: int) -> Filled:
    """Write rows by a `LogWriter` and count the processor time of its threads."""
    writer = LogWriter(
        open_store(str(folder)), folder / "open", Retention(1e5, 1e5, 1e15),
        {"m": ModelLog(features={"x": FEATURES})}, _LIMITS,
    )  # fmt: skip
    ids: list[str] = []
    begun, mine = time.process_time(), time.thread_time()
    offers = 0.0
    count = 0
    writer.start()
    for given in batches(rows, size):
        before = time.thread_time()
        assert writer.offer(given), "the queue is bounded below"
        offers += time.thread_time() - before
        count += 1
        if count % 1000 == 0:
            ids.append(given.requests.client_ids[0])
            while writer.counts().waiting > 200_000:
                time.sleep(0.05)
    writer.close(timeout_s=600)
    spent = time.process_time() - begun - (time.thread_time() - mine)
    assert writer.counts().stored == count * size
    return Filled(count * size, spent, offers, count, ids)


def looked(find: Callable[[str], object], ids: Sequence[str]) -> tuple[float, float, float]:
    """Return ms of a look: the first one's, then the median's, and that of processor time."""
    times, spent = [], []
    for identity in ids:
        begun, mine = time.perf_counter(), time.process_time()
        assert find(identity), identity
        times.append((time.perf_counter() - begun) * 1000)
        spent.append((time.process_time() - mine) * 1000)
    return times[0], median(times), median(spent)


def labels_found(folder: Path, filled: Filled, size: int) -> list[tuple[str, ...]]:
    """Look for the predictions of labels in random order; delete the files beside the parts."""
    chosen = random.Random(1)

    def push() -> list[tuple[str, int]]:
        numbers = chosen.sample(range(filled.rows), PUSH)
        return [(f"client-{number // size}-{number % size}", 0) for number in numbers]

    def times(reader: LogReader, count: int) -> tuple[str, ...]:
        found = []
        for _ in range(count):
            keys = push()
            begun = time.perf_counter()
            assert len(reader.find_many("m", keys)) == PUSH
            found.append((time.perf_counter() - begun) * 1000)
        return f"{found[0]:.0f}", f"{median(found[1:]):.1f}" if found[1:] else ""

    rows = f"{filled.rows:,}"
    store = open_store(str(folder))
    beside = {path: bytes_ for path, bytes_ in store.files("index") if path.endswith(".predicted")}
    with_files = times(LogReader(store, folder / "open"), LOOKS)
    for path in beside:
        store.delete(path)
    columns = times(LogReader(store, folder / "open"), 1)
    return [
        ("file beside each part", rows, *with_files, f"{sum(beside.values()) / filled.rows:.1f}"),
        ("columns of the Parquet files", rows, *columns, "0"),
    ]


def with_bloom_filters(parts: Sequence[Path], folder: Path) -> str:
    """Copy Parquet files with bloom filters of the clients' ids; return their glob."""
    folder.mkdir()
    for part in parts:
        pq.write_table(
            pq.read_table(part, partitioning=None), folder / part.name, compression="zstd",
            row_group_size=ROW_GROUP, use_dictionary=False,
            bloom_filter_options={"client_id": {"ndv": ROW_GROUP, "fpp": 0.01}},
        )  # fmt: skip
    return str(folder / "*.parquet")


def duckdb_look(files: str) -> Callable[[str], object]:
    """Return what looks for a client's id in Parquet files by DuckDB."""
    database = duckdb.connect()
    database.execute("SET threads = 1")
    query = f"SELECT * FROM '{files}' WHERE client_id = ?"
    return lambda identity: database.execute(query, [identity]).fetchall()


def sqlite_rows(path: Path, rows: int, size: int) -> tuple[float, sqlite3.Connection, list[str]]:
    """Write the same rows into SQLite; return processor seconds, the database, and ids."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    names = ["id", "row", "client_id", "time", "outcome", "queue_s", "total_s", *FEATURES, "y"]
    database.execute(f"CREATE TABLE rows ({', '.join(names)})")
    database.execute("CREATE INDEX by_client ON rows (client_id)")
    insert = f"INSERT INTO rows VALUES ({', '.join('?' * len(names))})"
    ids = []
    spent = 0.0
    for number, given in enumerate(batches(rows, size)):
        begun = time.process_time()
        features, outputs = given.inputs["x"].tolist(), given.outputs["y"]
        database.executemany(
            insert,
            (
                (given.id, row, client, given.time, "ok", 0.001, 0.002, *features[row],
                 outputs[row].tobytes())
                for row, client in enumerate(given.requests.client_ids)
            ),
        )  # fmt: skip
        if number % 128 == 0:
            database.commit()
            ids.append(given.requests.client_ids[0])
        spent += time.process_time() - begun
    database.commit()
    return spent, database, ids


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--sqlite-rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=64, help="rows of a batch")
    parser.add_argument("--write", action="store_true", help="into loadtest/results")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    folder = Path(tempfile.mkdtemp(prefix="vigil-log-"))
    try:
        facts, tables = measure(folder, options.rows, options.sqlite_rows, options.batch)
    finally:
        shutil.rmtree(folder)
    show = record.write if options.write else None
    record.show("prediction-log", facts, tables)
    if show is not None:
        show("prediction-log", facts, tables, [])


def measure(
    folder: Path, rows: int, sqlite_count: int, size: int
) -> tuple[dict[str, object], list[record.Table]]:
    """Return what is known of the run, and its tables."""
    filled = fill(folder / "log", rows, size)
    small = fill(folder / "small", min(rows, 1_000_000) // 10, 8)
    parts = sorted((folder / "log" / "predictions").rglob("*.parquet"))
    reader = LogReader(open_store(str(folder / "log")), folder / "log" / "open")
    ids = random.Random(0).sample(list(filled.ids), min(LOOKS, len(filled.ids)))
    own = [str(UUID(bytes=reader.find("m", identity)[0]["id"])) for identity in ids]
    plain = str(folder / "log" / "predictions" / "*" / "*" / "*" / "*.parquet")
    bloom = with_bloom_filters(parts, folder / "bloom")
    sqlite_s, database, sqlite_ids = sqlite_rows(folder / "rows.db", sqlite_count, size)
    query = "SELECT * FROM rows WHERE client_id = ?"
    ways: list[tuple[str, int, Callable[[str], object], Sequence[str]]] = [
        ("index beside each file, client's id", filled.rows, lambda i: reader.find("m", i, 0), ids),
        ("index beside each file, own id", filled.rows, lambda i: reader.find("m", i, 0), own),
        ("index, an id that is not there", filled.rows, lambda i: not reader.find("m", "no" + i),
         ids),
        ("DuckDB, statistics alone", filled.rows, duckdb_look(plain), ids[:5]),
        ("DuckDB, bloom filters", filled.rows, duckdb_look(bloom), ids[:10]),
        ("SQLite, index", sqlite_count, lambda i: database.execute(query, [i]).fetchall(),
         sqlite_ids[:: max(1, len(sqlite_ids) // LOOKS)]),
    ]  # fmt: skip
    found = [
        (name, f"{count:,}", *(f"{value:.1f}" for value in looked(find, looks)))
        for name, count, find, looks in ways
    ]
    written = [
        ("log, batches of 64", f"{filled.rows:,}", f"{filled.rows / filled.writer_s:,.0f}",
         f"{filled.offer_s / filled.batches * 1e6:.1f}", _bytes(folder / "log", filled.rows)),
        ("log, batches of 8", f"{small.rows:,}", f"{small.rows / small.writer_s:,.0f}",
         f"{small.offer_s / small.batches * 1e6:.1f}", _bytes(folder / "small", small.rows)),
        ("SQLite, one index", f"{sqlite_count:,}", f"{sqlite_count / sqlite_s:,.0f}", "",
         _bytes(folder / "rows.db", sqlite_count)),
    ]  # fmt: skip
    of_labels = labels_found(folder / "log", filled, size)  # the last: it deletes files
    facts: dict[str, object] = {
        "files": len(parts),
        "peak memory": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB",
        "command": "python -m loadtest.prediction_log --write",
    }
    tables = [
        record.Table(
            "Written", ("", "rows", "rows per processor second", "µs per offer", "bytes per row"),
            written, "30 features, 2 outputs and 16 other columns a row; with rolling to Parquet.",
        ),
        record.Table(
            "One row found", ("", "rows", "first ms", "median ms", "median processor ms"), found
        ),
        record.Table(
            f"Predictions of {PUSH:,} labels found",
            ("", "rows", "first ms", "median ms", "bytes per row"), of_labels,
            "Random ids. Of the columns, the first push alone is told: what it read is kept.",
        ),
    ]  # fmt: skip
    return facts, tables


def _bytes(path: Path, rows: int) -> str:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return f"{sum(each.stat().st_size for each in files) / rows:.0f}"


if __name__ == "__main__":
    main()
