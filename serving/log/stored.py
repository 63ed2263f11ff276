"""Which requests a log has already, for a writer whose predecessor was killed."""

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

from serving.log.layout import model_folder
from serving.log.retention import all_parts
from serving.log.rows import ID_BYTES
from serving.log.spool import all_streams
from serving.log.store import Store
from serving.log.stream import read_stream

Key = tuple[bytes, int]
"""Id of a batch, and the row in it of a request's first row."""
_COLUMNS: Final = ["id", "row", "index"]


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
    for table in chain(_streams(spool, models), _parts(store, models, begun)):
        of_batches = pc.is_in(table["id"], value_set=ids)
        first = table.filter(pc.and_(pc.equal(table["index"], 0), of_batches))
        found.update(zip(first["id"].to_pylist(), first["row"].to_pylist(), strict=True))
    return found & keys


def _streams(spool: Path, models: Collection[str]) -> Iterator[Any]:
    folders = {model_folder(model) for model in models}
    for stream in all_streams(spool, "predictions"):
        if stream.folder.partition("/")[0] in folders:
            with contextlib.suppress(FileNotFoundError):
                table = read_stream(stream.path).table
                if table is not None:
                    yield table.select(_COLUMNS)


def _parts(store: Store, models: Collection[str], begun: float) -> Iterator[Any]:
    for model in models:
        for part in all_parts(store, ("predictions",), model_folder(model)):
            if _begun(part.name) >= begun:
                with contextlib.suppress(FileNotFoundError):
                    path = store.full(part.path)
                    yield pq.read_table(path, columns=_COLUMNS, filesystem=store.filesystem)


def _begun(name: str) -> float:
    """Return when a stream was begun, from its UUIDv7; a part that others named was just now."""
    try:
        return (UUID(name).int >> 80) / 1000
    except ValueError:
        return math.inf
