"""What the prediction log costs, and how fast its rows are found, joined and deleted again.

`python -m loadtest.prediction_log --rows 10000000 --write` fills a log of ten days with 30 features
a row by its own writer, on one core. Beside it: the same rows in SQLite and in PostgreSQL, and
DuckDB over the same Parquet files without an index, and with bloom filters in them.

10 M rows take about ten times as long as the default, a million. PostgreSQL needs Debian's
`postgresql` and `pip install --group bench`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest import facts, record
from loadtest.log_rows import DAYS, FEATURES, NOON, batches, identities, oldest_day, values_of
from loadtest.log_tables import LABELS, Looked, Results, Written, tables_of
from loadtest.postgres import postgres, programs
from loadtest.sql_rows import PostgresRows, Rows, SqliteRows
from serving.log.open_streams import RollLimits
from serving.log.reader import LogReader
from serving.log.retention import Retention, retain
from serving.log.roll import ROW_GROUP
from serving.log.rows import LogRows, ModelLog
from serving.log.store import open_store
from serving.log.writer import LogLimits, LogWriter

LOOKS = 30
PUSHES = 20
_LIMITS = LogLimits(512 << 20, 64 << 30, RollLimits(1 << 30, 100_000, 3600))


def fill(name: str, folder: Path, rows: int, size: int) -> Written:
    """Write rows by a `LogWriter` and count the processor time of its threads."""
    writer = LogWriter(
        open_store(str(folder)), folder / "open", Retention(1e5, 1e5, 1e15),
        {"m": ModelLog(features={"x": FEATURES})}, _LIMITS,
    )  # fmt: skip
    begun, mine = time.process_time(), time.thread_time()
    offers, count = 0.0, 0
    writer.start()
    for given in batches(rows, size):
        before = time.thread_time()
        assert writer.offer(given), "the queue is bounded below"
        offers += time.thread_time() - before
        count += 1
        if count % 1000 == 0:
            while writer.counts().waiting > 200_000:
                time.sleep(0.05)
    writer.close(timeout_s=600)
    spent = time.process_time() - begun - (time.thread_time() - mine)
    assert writer.counts().stored == count * size
    return Written(name, count * size, spent, _bytes(folder), offers / count * 1e6)


def fill_sql(rows: Rows, count: int, size: int) -> Written:
    """Write rows into a database; making the batches is not counted."""
    making = 0.0

    def timed(made: Iterable[LogRows]) -> Iterator[LogRows]:
        nonlocal making
        made = iter(made)
        while True:
            before = time.process_time()
            given = next(made, None)
            making += time.process_time() - before
            if given is None:
                return
            yield given

    begun = rows.processor_s()
    rows.write(timed(batches(count, size)))
    spent = rows.processor_s() - begun - making
    return Written(rows.name, count // size * size, spent, rows.size())


def measured(
    name: str, rows: int, tasks: Sequence[Callable[[], object]],
    processor_s: Callable[[], float] = time.process_time,
) -> Looked:  # fmt: skip
    """Do tasks of one kind, one after the other."""
    times, spent = [], processor_s()
    for task in tasks:
        begun = time.perf_counter()
        task()
        times.append((time.perf_counter() - begun) * 1000)
    spent = (processor_s() - spent) * 1000 / len(tasks)
    return Looked(name, rows, times[0], median(times), spent)


def looked(
    name: str, rows: int, find: Callable[[str], object], ids: Sequence[str],
    processor_s: Callable[[], float] = time.process_time,
) -> Looked:  # fmt: skip
    """Look for ids, of which each must be found."""

    def look(identity: str) -> None:
        assert find(identity), identity

    return measured(name, rows, [partial(look, identity) for identity in ids], processor_s)


def joined(
    name: str, rows: int, size: int, join: Callable[[Sequence[str]], int],
    processor_s: Callable[[], float] = time.process_time, pushes: int = PUSHES,
) -> Looked:  # fmt: skip
    """Join pushes of labels, drawn over all rows, with their predictions by the clients' ids."""
    drawn = [identities(rows, size, LABELS, seed) for seed in range(1, 1 + pushes)]

    def push(wanted: Sequence[str]) -> None:
        found = join(wanted)
        assert found == LABELS, found

    return measured(name, rows, [partial(push, wanted) for wanted in drawn], processor_s)


def deleted(
    name: str, rows: int, delete: Callable[[], object], left: Callable[[], int],
    processor_s: Callable[[], float] = time.process_time,
) -> Looked:  # fmt: skip
    """Delete the oldest day, and check that it is gone."""
    row = measured(name, rows, [delete], processor_s)
    count = left()
    assert abs(count - rows * (DAYS - 1) / DAYS) < rows / 100, count
    return row


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


def measure_log(folder: Path, rows: int, size: int, results: Results) -> int:
    """Measure the log, with batches of that size and of 8; return its number of files."""
    log, store = folder / "log", open_store(str(folder / "log"))
    written = fill(f"log, batches of {size}", log, rows, size)
    rows = written.rows
    small = fill("log, batches of 8", folder / "small", min(rows, 1_000_000) // 10, 8)
    results.written += [written, small]
    ids = identities(rows, size, LOOKS)
    reader = LogReader(store, log / "open")
    own = [str(UUID(bytes=reader.find("m", identity)[0]["id"])) for identity in ids]
    parts = sorted((log / "predictions").rglob("*.parquet"))
    plain = str(log / "predictions" / "*" / "*" / "*" / "*.parquet")
    bloom = with_bloom_filters(parts, folder / "bloom")
    ways: list[tuple[str, Callable[[str], object], Sequence[str]]] = [
        ("log, client's id", lambda i: reader.find("m", i, 0), ids),
        ("log, own id", lambda i: reader.find("m", i, 0), own),
        ("log, an id that is not there", lambda i: not reader.find("m", "no" + i), ids),
        ("DuckDB over its files, statistics alone", duckdb_look(plain), ids[:5]),
        ("DuckDB over its files, bloom filters", duckdb_look(bloom), ids[:10]),
    ]
    results.found += [looked(name, rows, find, looks) for name, find, looks in ways]
    shutil.rmtree(folder / "bloom")

    def join(wanted: Sequence[str]) -> int:
        return len(reader.find_many("m", [(identity, 0) for identity in wanted]))

    def scan(wanted: Sequence[str]) -> int:
        """Scan the columns that a label needs."""
        listed = ", ".join(f"'{identity}'" for identity in wanted)
        found = reader.scan(
            "m", f"client_id IN ({listed})", columns=["id", "row", "time", "predicted"]
        )
        return sum(batch.num_rows for batch in found)

    def count() -> int:
        return sum(batch.num_rows for batch in reader.scan("m", columns=["row"]))

    results.joined += [
        joined("log, as labels do it", rows, size, join),
        joined("DuckDB over its files", rows, size, scan, pushes=5),
    ]
    keep = Retention(DAYS - 2, DAYS - 2, 1e15)
    delete = lambda: retain(store, keep, datetime.fromtimestamp(NOON, UTC))  # noqa: E731
    results.deleted.append(deleted("log, files", rows, delete, count))
    return len(parts)


def measure_sql(rows: Rows, how: str, count: int, size: int, results: Results) -> None:
    """Measure a database."""
    written = fill_sql(rows, count, size)
    results.written.append(written)
    ids = identities(written.rows, size, LOOKS)
    kept = [value for value in rows.find(ids[0])[0] if isinstance(value, float)]
    assert np.isin(values_of(ids[0], size), np.float32(kept)).all(), "other rows were written"
    results.found.append(looked(rows.name, written.rows, rows.find, ids, rows.processor_s))
    join = lambda wanted: len(rows.join(wanted))  # noqa: E731
    results.joined.append(joined(rows.name, written.rows, size, join, rows.processor_s))
    delete = lambda: rows.delete_day(oldest_day())  # noqa: E731
    name = f"{rows.name}, {how}"
    results.deleted.append(deleted(name, written.rows, delete, rows.count, rows.processor_s))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the log")
    parser.add_argument("--sql-rows", type=int, default=1_000_000, help="of the databases")
    parser.add_argument("--batch", type=int, default=64, help="rows of a batch")
    parser.add_argument("--write", action="store_true", help="into loadtest/results")
    options = parser.parse_args()
    bin_folder = programs()
    if bin_folder is None:
        raise SystemExit("PostgreSQL is not installed (apt install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        raise SystemExit("psycopg is not installed (pip install --group bench)")
    known = facts.machine() | {"command": facts.command("loadtest.prediction_log", None)}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    folder = Path(tempfile.mkdtemp(prefix="vigil-log-"))
    results = Results()
    try:
        files = measure_log(folder, options.rows, options.batch, results)
        sqlite = SqliteRows(folder / "rows.db", FEATURES)
        measure_sql(sqlite, "rows", options.sql_rows, options.batch, results)
        with postgres(bin_folder) as server:
            rows = PostgresRows(server, FEATURES)
            measure_sql(rows, "a partition", options.sql_rows, options.batch, results)
    finally:
        shutil.rmtree(folder)
    known |= {
        "files of the log": files,
        "peak memory": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB",
    }
    tables = tables_of(results)
    record.show("prediction-log", known, tables)
    if options.write:
        record.write("prediction-log", known, tables, [asdict(results)])


def _bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


if __name__ == "__main__":
    main()
