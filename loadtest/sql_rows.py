"""The rows of the prediction log as rows of SQLite and of PostgreSQL, to compare with."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from loadtest.postgres import Postgres
from serving.log.layout import day_of
from serving.log.rows import LogRows

COMMIT_ROWS: Final = 8192
"""Rows of a transaction: about what the log writes in one piece at that rate."""


class Rows(Protocol):
    """Rows in a database, with an index on the client's id."""

    name: str

    def write(self, batches: Iterable[LogRows]) -> None:
        """Write rows, so many a transaction as `COMMIT_ROWS`."""

    def find(self, identity: str) -> Sequence[Any]:
        """Return all columns of the rows with that id of a client."""

    def join(self, identities: Sequence[str]) -> Sequence[Any]:
        """Return what a label needs of the rows with these ids: id, row, time and output."""

    def delete_day(self, day: str) -> None:
        """Delete the rows of a day, `YYYY-MM-DD` (UTC)."""

    def count(self) -> int:
        """Return how many rows there are."""

    def size(self) -> int:
        """Return the bytes on the disk, without what is only for recovery."""

    def processor_s(self) -> float:
        """Return the processor seconds of this process, and of the server if there is one."""


def _pieces(batches: Iterable[LogRows]) -> Iterator[list[LogRows]]:
    """Yield batches of one day, at most `COMMIT_ROWS` rows of them."""
    given = iter(batches)
    while piece := list(islice(given, 1)):
        piece += islice(given, max(0, COMMIT_ROWS // piece[0].count - 1))
        days: dict[str, list[LogRows]] = {}
        for batch in piece:
            days.setdefault(day_of(batch.time), []).append(batch)
        yield from days.values()


class SqliteRows:
    """Rows in SQLite with a write-ahead log.

    Args:
        path: of the file, which is made.
        features: names of the features, tensor `x`; the output is tensor `y` of two values.
    """

    name = "SQLite"

    def __init__(self, path: Path, features: Sequence[str]) -> None:
        self._path = path
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        fixed = ["id", "row", "client_id", "time", "outcome", "revision", "queue_s", "total_s"]
        names = [*fixed, "compute_s", *features, "y0", "y1"]
        self._database.execute(f"CREATE TABLE rows ({', '.join(names)})")
        self._database.execute("CREATE INDEX by_client ON rows (client_id)")
        self._insert = f"INSERT INTO rows VALUES ({', '.join('?' * len(names))})"

    def write(self, batches: Iterable[LogRows]) -> None:
        """Write rows."""
        for piece in _pieces(batches):
            for batch in piece:
                values = np.hstack([batch.inputs["x"], batch.outputs["y"]]).tolist()
                fixed = (batch.time, "ok", "1", 0.001, 0.002, 0.001)
                identity = batch.batches.id(0)
                self._database.executemany(
                    self._insert,
                    [
                        (identity, row, client, *fixed, *values[row])
                        for row, client in enumerate(batch.requests.client_ids)
                    ],
                )
            self._database.commit()

    def find(self, identity: str) -> Sequence[Any]:
        """Find a row by the index."""
        query = "SELECT * FROM rows WHERE client_id = ?"
        return self._database.execute(query, [identity]).fetchall()

    def join(self, identities: Sequence[str]) -> Sequence[Any]:
        """Find many rows by the index, in one query."""
        query = (
            "SELECT id, row, time, y0, y1 FROM rows "
            "WHERE client_id IN (SELECT value FROM json_each(?))"
        )
        return self._database.execute(query, [json.dumps(identities)]).fetchall()

    def delete_day(self, day: str) -> None:
        """Delete row by row: SQLite has no partitions. Rows stand in the order of time."""
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        self._database.execute(
            "DELETE FROM rows WHERE time >= ? AND time < ?", [begin, begin + 86400]
        )
        self._database.commit()

    def count(self) -> int:
        """Count the rows."""
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def size(self) -> int:
        """Return the size of the file, with everything in it."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size

    def processor_s(self) -> float:
        """Return that of this process."""
        return time.process_time()


class PostgresRows:
    """Rows in PostgreSQL, partitioned by day, written by binary COPY.

    Args:
        server: that runs.
        features: names of the features, tensor `x`; the output is tensor `y` of two values.
    """

    def __init__(self, server: Postgres, features: Sequence[str]) -> None:
        self.name = f"PostgreSQL {server.version.split(' ')[0]}"
        self._server, self._database = server, server.database
        columns = {
            "id": "uuid", "row": "int", "time": "timestamptz", "outcome": "text",
            "revision": "text", "queue_s": "float4", "total_s": "float4", "compute_s": "float4",
            **dict.fromkeys([*features, "y0", "y1"], "float4"), "client_id": "text",
        }  # fmt: skip
        self._columns = len(columns)
        made = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        self._database.execute(f"CREATE TABLE rows ({made}) PARTITION BY RANGE (time)")
        self._database.execute("CREATE INDEX by_client ON rows (client_id)")
        self._days: set[str] = set()
        values = np.dtype([("length", ">i4"), ("value", ">f4")])
        self._row = np.dtype(
            [
                ("columns", ">i2"), ("id_length", ">i4"), ("id", "V16"), ("row_length", ">i4"),
                ("row", ">i4"), ("time_length", ">i4"), ("time", ">i8"), ("outcome_length", ">i4"),
                ("outcome", "S2"), ("revision_length", ">i4"), ("revision", "S1"),
                ("values", values, (3 + len(features) + 2,)),
            ]
        )  # fmt: skip

    def write(self, batches: Iterable[LogRows]) -> None:
        """Write rows: one COPY a piece, into the partition of its day."""
        for piece in _pieces(batches):
            table = self._partition(day_of(piece[0].time))
            with (
                self._database.transaction(),
                self._database.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy,
            ):
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
                for batch in piece:
                    copy.write(self._encoded(batch))
                copy.write(b"\xff\xff")

    def _partition(self, day: str) -> str:
        name = f"rows_{day.replace('-', '_')}"
        if day not in self._days:
            self._days.add(day)
            self._database.execute(
                f"CREATE TABLE {name} PARTITION OF rows "
                f"FOR VALUES FROM ('{day} 00:00Z') TO ('{day} 24:00Z')"
            )
        return name

    def _encoded(self, batch: LogRows) -> bytes:
        """Return rows as COPY reads them; arrays at once, since it is the server that counts."""
        rows = np.zeros(batch.count, self._row)
        rows["columns"] = self._columns
        for name, length in (("id", 16), ("row", 4), ("time", 8), ("outcome", 2), ("revision", 1)):
            rows[f"{name}_length"] = length
        rows["id"] = np.void(batch.batches.id(0))
        rows["row"] = np.arange(batch.count)
        rows["time"] = round((batch.time - _EPOCH_S) * 1e6)
        rows["outcome"], rows["revision"] = b"ok", b"1"
        rows["values"]["length"] = 4
        rows["values"]["value"][:, :3] = (0.001, 0.002, 0.001)
        rows["values"]["value"][:, 3:] = np.hstack([batch.inputs["x"], batch.outputs["y"]])
        fixed, width = rows.tobytes(), self._row.itemsize
        pieces = []
        for row, client in enumerate(batch.requests.client_ids):
            text = client.encode()
            pieces += (fixed[row * width : (row + 1) * width], len(text).to_bytes(4, "big"), text)
        return b"".join(pieces)

    def find(self, identity: str) -> Sequence[Any]:
        """Find a row by the index of each partition."""
        found: list[Any] = self._database.execute(
            "SELECT * FROM rows WHERE client_id = %s", [identity]
        ).fetchall()
        return found

    def join(self, identities: Sequence[str]) -> Sequence[Any]:
        """Find many rows by the indexes, in one query."""
        found: list[Any] = self._database.execute(
            "SELECT id, row, time, y0, y1 FROM rows WHERE client_id = ANY(%s)", [list(identities)]
        ).fetchall()
        return found

    def delete_day(self, day: str) -> None:
        """Drop the partition of a day."""
        self._database.execute(f"DROP TABLE {self._partition(day)}")

    def count(self) -> int:
        """Count the rows."""
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def size(self) -> int:
        """Return the size of tables and indexes, without the write-ahead log."""
        self._database.execute("VACUUM ANALYZE rows")
        query = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('rows')"
        return int(self._database.execute(query).fetchone()[0])

    def processor_s(self) -> float:
        """Return that of this process and of the server."""
        return time.process_time() + self._server.processor_s()


_EPOCH_S: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""PostgreSQL counts from there."""
