"""One id among many parts: their indexes say where to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.id_index import Index, read_index, rows_of
from serving.log.layout import Part
from serving.log.store import Store


def own_id(identity: str) -> bytes | None:
    """Return the id of a batch in binary; None when the text is none."""
    try:
        return UUID(identity).bytes
    except ValueError:
        return None


def find_in_table(table: Any, identity: str, index: int | None) -> Any:
    """Return the rows of a table that have the id; see `LogReader.find`."""
    own = own_id(identity)
    found = pc.equal(table["client_id"], identity)
    if index is not None:
        found = pc.and_(found, pc.equal(table["index"], index))
    if own is not None:
        of_batch = pc.equal(table["id"], pa.scalar(own, pa.binary(16)))
        if index is not None:
            of_batch = pc.and_(of_batch, pc.equal(table["row"], index))
        found = pc.or_(found, of_batch)
    return table.filter(found)


def find_in_parts(
    store: Store, parts: Sequence[Part], identity: str, index: int | None
) -> Iterator[tuple[Part, Any]]:
    """Yield parts and their rows that have the id.

    Raises:
        OSError, pyarrow.ArrowException: one cannot be read.
    """
    own = own_id(identity)
    for part in parts:
        try:
            starts = rows_of(_index(store, part), own=own, client=identity)
        except (FileNotFoundError, ValueError):
            starts = None  # no index: look at all of it
        try:
            if starts is None or starts:
                rows = find_in_table(_groups(store, part, starts), identity, index)
                if rows.num_rows:
                    yield part, rows
        except FileNotFoundError:
            continue  # retention has deleted it meanwhile


def _index(store: Store, part: Part) -> Index:
    if store.local is not None:
        path = store.local / part.ids
        if path.stat().st_size == 0:
            raise ValueError("the index is empty")
        return read_index(np.memmap(path, "<u4", mode="r"))
    return read_index(store.read(part.ids))


def _groups(store: Store, part: Part, starts: list[int] | None) -> Any:
    """Read the row groups in which runs begin; none goes on in the next."""
    path = store.full(part.path)
    with pq.ParquetFile(path, filesystem=store.filesystem) as file:
        if starts is None:
            return file.read()
        metadata = file.metadata
        ends = np.cumsum([metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)])
        groups = sorted({int(group) for group in np.searchsorted(ends, starts, side="right")})
        return file.read_row_groups(groups)
