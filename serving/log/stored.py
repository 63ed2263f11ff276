"""Which requests and labels a log has already, for a writer whose predecessor was killed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.label_rows import LABEL_TIME
from serving.log.layout import Dataset, model_folder
from serving.log.retention import all_parts
from serving.log.rows import ID_BYTES
from serving.log.spool import all_streams, of_models
from serving.log.store import Store
from serving.log.stream import read_stream

Key = tuple[bytes, int]
"""Id of a batch, and the row in it of a request's first row."""
LabelKey = tuple[str, int, int]
"""Client's id of a request, the row in it, and when the label came, in µs since the epoch."""
_COLUMNS: Final = ["id", "row", "index"]
_OF_LABELS: Final = ["client_id", "index", LABEL_TIME]


def stored_requests(
    store: Store, spool: Path, models: Collection[str], wanted: Iterable[Key], begun: float
) -> set[Key]:
    """Return those of `wanted` that are in streams, or in parts.

    A stream becomes a part while this looks; streams are read first, so none is missed.

    Args:
        store, spool: of the log.
        models: whose requests they are.
        wanted: keys of requests.
        begun: parts of streams that were begun earlier, in seconds since the epoch, are left out.

    Raises:
        OSError, pyarrow.ArrowException: the store cannot be read.
    """
    keys = set(wanted)
    ids = pa.array(sorted({identity for identity, _ in keys}), pa.binary(ID_BYTES))
    found: set[Key] = set()
    for table in _tables(store, spool, "predictions", models, _COLUMNS, begun):
        of_batches = pc.is_in(table["id"], value_set=ids)
        first = table.filter(pc.and_(pc.equal(table["index"], 0), of_batches))
        found.update(zip(first["id"].to_pylist(), first["row"].to_pylist(), strict=True))
    return found & keys


def stored_labels(
    store: Store, spool: Path, models: Collection[str], wanted: Iterable[LabelKey], begun: float
) -> set[LabelKey]:
    """Return those of the `wanted` labels that the log has; else as `stored_requests`."""
    keys = set(wanted)
    idents = pa.array(sorted({ident for ident, _, _ in keys}), pa.string())
    found: set[LabelKey] = set()
    for table in _tables(store, spool, "labels", models, _OF_LABELS, begun):
        some = table.filter(pc.is_in(table["client_id"], value_set=idents))
        times = some[LABEL_TIME].cast(pa.int64()).to_pylist()
        of_rows = some["client_id"].to_pylist(), some["index"].to_pylist(), times
        found.update(zip(*of_rows, strict=True))
    return found & keys


def _tables(
    store: Store,
    spool: Path,
    dataset: Dataset,
    models: Collection[str],
    columns: list[str],
    begun: float,
) -> Iterator[Any]:
    return chain(
        _streams(spool, dataset, models, columns), _parts(store, dataset, models, columns, begun)
    )


def _streams(
    spool: Path, dataset: Dataset, models: Collection[str], columns: list[str]
) -> Iterator[Any]:
    for stream in of_models(all_streams(spool, dataset), models):
        with contextlib.suppress(FileNotFoundError):
            table = read_stream(stream.path).table
            if table is not None:
                yield table.select(columns)


def _parts(
    store: Store, dataset: Dataset, models: Collection[str], columns: list[str], begun: float
) -> Iterator[Any]:
    for model in models:
        for part in all_parts(store, (dataset,), model_folder(model)):
            if _begun(part.name) >= begun:
                with contextlib.suppress(FileNotFoundError):
                    path = store.full(part.path)
                    yield pq.read_table(path, columns=columns, filesystem=store.filesystem)


def _begun(name: str) -> float:
    """Return when a stream was begun, from its UUIDv7; a part that others named was just now."""
    try:
        return (UUID(name).int >> 80) / 1000
    except ValueError:
        return math.inf
