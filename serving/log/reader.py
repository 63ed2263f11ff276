"""Reads a log while others write it: Parquet files and streams as one table."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from serving.errors import InvalidInput
from serving.log.columns import FIXED, PREDICTED
from serving.log.find import Indexes, find_in_parts, find_in_table
from serving.log.footers import Footers
from serving.log.keyed_rows import FoundPrediction, Key, WantedKeys, newest
from serving.log.label_rows import LABEL, LABEL_TIME
from serving.log.layout import Dataset, Part, model_folder, partition_of
from serving.log.parts import as_dataset, common_schema, with_partition
from serving.log.predicted import PredictedRows
from serving.log.predicted_streams import PredictedStreams
from serving.log.query import connection, quoted, require_condition, select
from serving.log.read_labels import (
    FoundLabel,
    LabelKey,
    LabelReader,
    LabelTables,
    join_labels,
    no_labels,
)
from serving.log.retention import all_parts
from serving.log.snapshot import Snapshot, take_snapshot
from serving.log.spool import StreamFile, all_streams, of_models
from serving.log.store import Store

_MOST_NAMES: Final = 40
_ORDER: Final = ("time", "id", "row")
_KEYS: Final = (*_ORDER, "version", "client_id", "index")
"""What rows are ordered by, and what labels are joined by."""


class LogReader:
    """Reads one dataset of a log.

    Args:
        store: where its Parquet files are.
        spool: where its streams are; None: read the files alone.
        dataset: which one.
    """

    def __init__(self, store: Store, spool: Path | None, dataset: Dataset = "predictions") -> None:
        self._store = store
        self._spool = spool
        self._dataset = dataset
        self._footers = Footers(store)
        self._indexes = Indexes(store)
        self._predicted = PredictedRows(store, self._footers)
        self._predicted_streams = PredictedStreams()
        self._labels = LabelReader(store, spool)

    def find(self, model: str, identity: str, index: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of a request, or of a batch, with their labels, oldest first.

        Args:
            model: its name.
            identity: the client's id of the request, or the own id of a batch, a UUID.
            index: row within the request (or batch); None: all of them.

        Raises:
            OSError, pyarrow.ArrowException: the log cannot be read.
        """
        tables = self.find_tables(model, identity, index)
        labels = self.labels(model, tables)
        rows = [row for table in tables for row in table.to_pylist()]
        for row in rows:
            label = labels.get((row["version"], row["client_id"], row["index"]))
            row[LABEL], row[LABEL_TIME] = label or (None, None)
        return sorted(rows, key=lambda row: (row["time"], row["id"], row["row"]))

    def find_tables(self, model: str, identity: str, index: int | None = None) -> list[Any]:
        """Return what `find` does as tables, each of one schema and in the order of its rows.

        Arguments and errors are those of `find`.
        """
        found = self.snapshot(model)
        tables = [
            with_partition(rows, stream.folder, common_schema([rows.schema]))
            for stream, table in found.streams
            if (rows := find_in_table(table, identity, index)).num_rows
        ]
        for part, rows in find_in_parts(self._indexes, found.parts, identity, index):
            tables.append(with_partition(rows, part.folder, common_schema([rows.schema])))
        ordered = [table.sort_by([(name, "ascending") for name in _ORDER]) for table in tables]
        return sorted(ordered, key=lambda table: table["time"][0].as_py())

    def labels(self, model: str, tables: Sequence[Any]) -> dict[LabelKey, FoundLabel]:
        """Return the labels of predictions that `find_tables` gave; errors are those of `find`."""
        return self._labels.of_rows(model, tables)

    def find_many(self, model: str, keys: Sequence[Key]) -> list[FoundPrediction]:
        """Return the newest prediction of each key that has one, in no order.

        What was predicted is known of models that take labels, unless `log.capture` is none.

        Args:
            model: its name.
            keys: clients' ids of requests, and rows in them; each once.

        Raises:
            OSError, pyarrow.ArrowException: the log cannot be read.
        """
        wanted = WantedKeys(keys)
        streams = self._streams()
        self._predicted_streams.keep(streams)
        found: list[FoundPrediction] = []
        names = set()
        for stream in of_models(streams, [model]):
            with contextlib.suppress(FileNotFoundError):
                found += self._predicted_streams.find(stream, wanted)
                names.add(stream.name)
        found += self._predicted.find(self._parts(model, names), wanted)
        return newest(found)

    def scan(
        self,
        model: str,
        where: str = "true",
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> pa.RecordBatchReader:
        """Return rows of a model, batch by batch; in no order, unless the newest are wanted.

        Predictions have `label` and `label_time`, where there are labels or somebody asks for them.

        Args:
            model: its name.
            where: a condition in SQL (DuckDB's) on the columns.
            since, until: the earliest time, and the first that is too late.
            columns: which ones; None: all.
            limit: so many rows at most.
            newest: the last ones first, which takes memory for `limit` rows.

        Raises:
            InvalidInput: `where` is no condition, or there is no such column.
            OSError, pyarrow.ArrowException: the log cannot be read.
        """
        require_condition(where)
        snapshot = self.snapshot(model).within(since, until)
        tables = [(stream.folder, table) for stream, table in snapshot.streams]
        parts = self._footers.schemas(snapshot.parts)
        schema = common_schema([*parts.values(), *(table.schema for _, table in tables)])
        if not parts and not tables:  # no condition on columns that nobody knows yet is wrong
            return pa.RecordBatchReader.from_batches(common_schema([FIXED]), [])
        database = connection()
        open_rows = [with_partition(table, folder, schema) for folder, table in tables]
        database.register("finished", as_dataset(self._store, list(parts), schema))
        database.register("unfinished", pa.concat_tables([schema.empty_table(), *open_rows]))
        database.execute(
            "CREATE VIEW logged AS SELECT * FROM finished UNION ALL SELECT * FROM unfinished"
        )
        labels = self._labels_for(model, where, columns, since, schema)
        known = schema.names if labels is None else [*schema.names, LABEL, LABEL_TIME]
        _require_columns(columns or (), known)
        times = [
            f"time {sign} TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'"
            for sign, moment in ((">=", since), ("<", until))
            if moment is not None
        ]
        condition = "\n) AND (".join([*times, where])
        more = "ORDER BY time DESC, id, row " if newest else ""
        if limit is not None:
            more += f"LIMIT {int(limit)}"
        if labels is not None and limit is not None and not _mentions(where):
            # Those few are chosen first, and only their labels are looked for.
            database.execute("CREATE VIEW rows AS FROM logged")
            needed = columns and [*(name for name in columns if name in schema.names), *_KEYS]
            few = select(database, _listed(needed), condition, more).read_all()
            database.register("chosen", few)
            database.execute("DROP VIEW rows")
            join_labels(database, labels, of="chosen", few=True)
            return select(database, _listed(columns), "true", more)
        if labels is not None:
            join_labels(database, labels, of="logged", few=False)
        else:
            database.execute("CREATE VIEW rows AS FROM logged")
        return select(database, _listed(columns), condition, more)

    def _labels_for(
        self,
        model: str,
        where: str,
        columns: Sequence[str] | None,
        since: datetime | None,
        schema: Any,
    ) -> LabelTables | None:
        """Return the labels that a scan joins; None: it does not."""
        asked = _mentions(where) or bool({LABEL, LABEL_TIME} & set(columns or ()))
        if self._dataset != "predictions" or LABEL in schema.names:
            return None
        if columns is not None and not asked:
            return None
        found = self._labels.tables(model, since)
        if found is None and asked:
            of_answers = schema.field(PREDICTED).type if PREDICTED in schema.names else pa.int64()
            return no_labels(of_answers)
        return found

    def models(self) -> list[str]:
        """Return the names of the models that the log has rows of, sorted.

        Raises:
            OSError: the store cannot be reached.
        """
        folders = {part.folder for part in all_parts(self._store, (self._dataset,))}
        folders.update(stream.folder for stream in self._streams())
        found = (partition_of(folder) for folder in folders)
        return sorted({partition.model for partition in found if partition is not None})

    def snapshot(self, model: str) -> Snapshot:
        """Return what there is of a model now.

        Raises:
            OSError: the store cannot be reached.
        """
        return take_snapshot(self._store, self._spool, self._dataset, model)

    def _streams(self) -> list[StreamFile]:
        return all_streams(self._spool, self._dataset) if self._spool else []

    def _parts(self, model: str, read: Collection[str]) -> list[Part]:
        """Return the parts of a model without those of streams that were read before."""
        parts = all_parts(self._store, (self._dataset,), model_folder(model))
        return [part for part in parts if part.name not in read]


def _mentions(where: str) -> bool:
    """Whether a condition may be about labels; a name in SQL is written in any case."""
    return LABEL in where.lower()


def _listed(columns: Sequence[str] | None) -> str:
    return "*" if columns is None else ", ".join(quoted(name) for name in dict.fromkeys(columns))


def _require_columns(wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            known = ", ".join(names[:_MOST_NAMES])
            more = ", …" if len(names) > _MOST_NAMES else ""
            raise InvalidInput(f"columns: the log has no '{name[:80]}'; it has {known}{more}")
