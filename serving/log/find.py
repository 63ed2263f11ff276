"""One id among many parts: their indexes say where to look."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.id_index import Index, read_index, rows_of
from serving.log.kept import Kept
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
    indexes: Indexes, parts: Sequence[Part], identity: str, index: int | None
) -> Iterator[tuple[Part, Any]]:
    """Yield parts and their rows that have the id.

    Raises:
        OSError, pyarrow.ArrowException: one cannot be read.
    """
    own = own_id(identity)
    for part in parts:
        table = indexes.groups(part, lambda found: rows_of(found, own=own, client=identity))
        rows = None if table is None else find_in_table(table, identity, index)
        if rows is not None and rows.num_rows:
            yield part, rows


class Indexes:
    """Indexes of parts: the last ones that were used are kept.

    Only `forget` replaces a part, whose size changes then.

    Args:
        store: where they are.
        most_bytes: of what is kept; files on the local disk are mapped, and cost no memory.
    """

    def __init__(self, store: Store, most_bytes: int = 256 << 20) -> None:
        self._store = store
        self._kept: Kept[Part, Index] = Kept(self._read, most_bytes)

    def get(self, part: Part) -> Index:
        """Return the index of a part.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        return self._kept.get(part)

    def groups(self, part: Part, starts_in: Callable[[Index], list[int]]) -> Any:
        """Return the rows of a part's row groups in which runs begin, those that may be wanted.

        Args:
            part: which one.
            starts_in: returns the first rows of such runs, as its index says.

        Returns:
            A table; None where there are no such runs, or retention has deleted the part meanwhile.

        Raises:
            OSError, pyarrow.ArrowException: it cannot be read.
        """
        try:
            starts: list[int] | None = starts_in(self.get(part))
        except (FileNotFoundError, ValueError):
            starts = None  # no index: look at all of it
        if starts == []:
            return None
        try:
            return _groups_of(self._store, part, starts)
        except FileNotFoundError:
            return None

    def _read(self, part: Part) -> tuple[Index, int]:
        content = self._content(part)
        return read_index(content), len(content)

    def _content(self, part: Part) -> bytes | mmap.mmap:
        if self._store.local is None:
            return self._store.read(part.ids)
        with (self._store.local / part.ids).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _groups_of(store: Store, part: Part, starts: list[int] | None) -> Any:
    """Read the row groups in which runs begin, none of which goes on in the next; None: all.

    Raises:
        OSError, pyarrow.ArrowException: they cannot be read.
    """
    path = store.full(part.path)
    with pq.ParquetFile(path, filesystem=store.filesystem) as file:
        if starts is None:
            return file.read()
        metadata = file.metadata
        ends = np.cumsum([metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)])
        groups = {int(group) for group in np.searchsorted(ends, starts, side="right")}
        # Beyond the end where the part was replaced between its index and this.
        return file.read_row_groups(sorted(groups & set(range(metadata.num_row_groups))))
