"""Labels of a log for readers of its predictions: of each prediction the newest one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from serving.log.find import Indexes
from serving.log.footers import Footers
from serving.log.id_index import rows_of_clients
from serving.log.label_rows import LABEL, LABEL_TIME
from serving.log.layout import partition_of
from serving.log.parts import as_dataset, common_schema, with_partition
from serving.log.snapshot import Snapshot, take_snapshot
from serving.log.store import Store

EARLY: Final = timedelta(days=1)
"""A label comes no earlier than that before its prediction: it waits for an hour."""

LabelKey = tuple[str, str, int]
"""Version, client's id of the request, and the row in it."""


class FoundLabel(NamedTuple):
    """What is true of a prediction, and when that was told."""

    value: Any
    time: datetime


class LabelTables(NamedTuple):
    """Labels of a model, those of finished files and of streams; their schema is the same."""

    finished: Any
    unfinished: Any


class LabelReader:
    """Reads the labels of a log.

    Args:
        store: where its Parquet files are.
        spool: where its streams are; None: read the files alone.
    """

    def __init__(self, store: Store, spool: Path | None) -> None:
        self._store, self._spool = store, spool
        self._footers = Footers(store)
        self._indexes = Indexes(store)

    def of_rows(self, model: str, tables: Sequence[Any]) -> dict[LabelKey, FoundLabel]:
        """Return the labels of predictions.

        Args:
            model: its name.
            tables: of its predictions.

        Raises:
            OSError, pyarrow.ArrowException: the log cannot be read.
        """
        idents = {ident for table in tables for ident in pc.unique(table["client_id"]).to_pylist()}
        if not idents:
            return {}
        since = min(pc.min(table["time"]).as_py() for table in tables) - EARLY
        snapshot = take_snapshot(self._store, self._spool, "labels", model).within(since, None)
        newest: dict[LabelKey, FoundLabel] = {}
        for folder, rows in self._rows_of(snapshot, idents):
            partition = partition_of(folder)
            assert partition is not None, "streams and parts are found by it"
            for row in rows.to_pylist():
                key = partition.version, row["client_id"], row["index"]
                known = newest.get(key)
                if known is None or row[LABEL_TIME] > known.time:
                    newest[key] = FoundLabel(row[LABEL], row[LABEL_TIME])
        return newest

    def _rows_of(self, snapshot: Snapshot, idents: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Yield folders and the labels in them that are of these clients' ids."""
        wanted = pa.array(sorted(idents), pa.string())
        for stream, table in snapshot.streams:
            yield stream.folder, table.filter(pc.is_in(table["client_id"], value_set=wanted))
        for part in snapshot.parts:
            found = self._indexes.groups(part, lambda index: rows_of_clients(index, idents))
            if found is not None:
                yield part.folder, found.filter(pc.is_in(found["client_id"], value_set=wanted))

    def tables(self, model: str, since: datetime | None) -> LabelTables | None:
        """Return the labels that predictions may have; None where there are none.

        Where a version's labels are of another kind than they were, the older ones are left out.

        Args:
            model: its name.
            since: no prediction is older; None: as old as may be.

        Raises:
            OSError, pyarrow.ArrowException: the log cannot be read.
        """
        snapshot = take_snapshot(self._store, self._spool, "labels", model)
        snapshot = snapshot.within(None if since is None else since - EARLY, None)
        parts = self._footers.schemas(snapshot.parts)
        schemas = {part.name: schema for part, schema in parts.items()}
        schemas |= {stream.name: table.schema for stream, table in snapshot.streams}
        if not schemas:
            return None
        # Names are UUIDv7: the last was begun last.
        kind = schemas[max(schemas)].field(LABEL).type
        alike = {name for name, schema in schemas.items() if _alike(schema.field(LABEL).type, kind)}
        schema = common_schema([schemas[name] for name in alike])
        streams = [
            with_partition(table, stream.folder, schema)
            for stream, table in snapshot.streams
            if stream.name in alike
        ]
        return LabelTables(
            as_dataset(self._store, [part for part in parts if part.name in alike], schema),
            pa.concat_tables([schema.empty_table(), *streams]),
        )


def no_labels(kind: Any) -> LabelTables:
    """Return the labels of a model that has none, as if they were of this type."""
    fields = [("client_id", pa.string()), ("index", pa.int32()),
              (LABEL_TIME, pa.timestamp("us", "UTC")), (LABEL, kind)]  # fmt: skip
    empty = common_schema([pa.schema(fields)]).empty_table()
    return LabelTables(empty, empty)


def join_labels(database: Any, tables: LabelTables, of: str, *, few: bool) -> None:
    """Make the view `rows`: predictions with `label` and `label_time`, null without a label.

    Args:
        database: which has what `of` names.
        tables: the labels.
        of: the predictions: a view or table.
        few: there are few of them, and no other labels are looked at.
    """
    only = f'SEMI JOIN {of} USING (version, client_id, "index")' if few else ""
    database.register("labels_finished", tables.finished)
    database.register("labels_unfinished", tables.unfinished)
    columns = f'version, client_id, "index", {LABEL_TIME}, {LABEL}'
    database.execute(f"""
        CREATE VIEW rows AS
        WITH told AS (
            SELECT {columns} FROM labels_finished UNION ALL SELECT {columns} FROM labels_unfinished
        ), newest AS (
            SELECT version, client_id, "index",
                arg_max({LABEL}, {LABEL_TIME}) AS {LABEL}, max({LABEL_TIME}) AS {LABEL_TIME}
            FROM told {only} GROUP BY ALL
        )
        SELECT of_rows.*, newest.{LABEL}, newest.{LABEL_TIME}
        FROM {of} AS of_rows LEFT JOIN newest
        ON of_rows.version = newest.version AND of_rows.client_id = newest.client_id
            AND of_rows."index" = newest."index"
    """)  # noqa: S608 - all names are this module's own


def _alike(one: Any, other: Any) -> bool:
    """Whether labels of two types can be compared with the same predictions."""
    return bool(one == other or (pa.types.is_primitive(one) and pa.types.is_primitive(other)))
