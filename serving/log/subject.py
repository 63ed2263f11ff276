"""Whose rows are forgotten, and which rows of a file these are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.layout import Part
from serving.log.roll import ROW_GROUP
from serving.log.store import Store

CLIENT_ID: Final = "client_id"
SHORTEST_TEXT: Final = 6
"""Bytes of a subject that files are searched for as they are; fewer stand everywhere by chance."""

Key = tuple[bytes, int]
"""Id of a batch, and the row in it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose rows are meant: those with this text in the column `by`, of one model or of all.

    Attributes:
        value: the text; a column of numbers is compared with the number that it writes.
        by: the column.
        model: its name; None: every model.
    """

    value: str
    by: str = CLIENT_ID
    model: str | None = None

    @property
    def ident(self) -> str | None:
        """The client's id that is meant itself; None: another column is."""
        return self.value if self.by == CLIENT_ID else None

    @property
    def text(self) -> bytes:
        """What files are searched for as they are; empty: it is too short for that."""
        text = self.value.encode()
        return text if len(text) >= SHORTEST_TEXT else b""


def matches(store: Store, part: Part, subject: Subject) -> Any:
    """Return id, row, client_id and index of the rows of a subject; None without its column."""
    with opened_part(store, part) as file:
        names = file.schema_arrow.names
        if subject.by not in names:
            return None
        columns = list(dict.fromkeys(("id", "row", CLIENT_ID, "index", subject.by)))
        tables = [file.schema_arrow.empty_table().select(columns)]
        for batch in file.iter_batches(ROW_GROUP, columns=columns):
            table = pa.Table.from_batches([batch])
            found = table.filter(_is_subject(table[subject.by], subject.value))
            tables.append(found.select(columns))
        return pa.concat_tables(tables).select(["id", "row", CLIENT_ID, "index"])


def _is_subject(column: Any, value: str) -> Any:
    kind = column.type
    wanted: bool | float | str | bytes | None = None
    try:
        if pa.types.is_boolean(kind):
            wanted = {"true": True, "false": False}[value.lower()]
        elif pa.types.is_integer(kind):
            wanted = int(value)
        elif pa.types.is_floating(kind):
            wanted = float(value)
        elif pa.types.is_string(kind):
            wanted = value
        elif pa.types.is_binary(kind):
            wanted = value.encode()
        scalar = None if wanted is None else pa.scalar(wanted, kind)
    except (KeyError, ValueError, OverflowError, pa.ArrowException):
        scalar = None  # no value of this column is written so
    if scalar is None:
        return pa.array([False] * len(column))
    return pc.fill_null(pc.equal(column, scalar), False)


@contextlib.contextmanager
def opened_part(store: Store, part: Part) -> Iterator[Any]:
    """Open a part, a `pyarrow.parquet.ParquetFile`.

    Raises:
        OSError, pyarrow.ArrowException: it cannot be.
    """
    with pq.ParquetFile(store.full(part.path), filesystem=store.filesystem) as file:
        yield file


def rows_with(table: Any, keys: set[Key]) -> Any:
    """Return a mask of the rows of a table that have these keys."""
    ids = pa.array(sorted({key for key, _ in keys}), pa.binary(16))
    candidates = pc.is_in(table["id"].cast(pa.binary(16)), value_set=ids)
    if not pc.any(candidates).as_py():
        return pa.array([False] * table.num_rows)
    mask = candidates.to_numpy(zero_copy_only=False)
    some = table.select(["id", "row"]).filter(candidates)
    pairs = zip(some["id"].to_pylist(), some["row"].to_pylist(), strict=True)
    mask[mask] = [pair in keys for pair in pairs]
    return pa.array(mask)


def holds_some(store: Store, part: Part, keys: set[Key]) -> bool:
    """Whether a part has rows with these keys."""
    with opened_part(store, part) as file:
        for batch in file.iter_batches(ROW_GROUP, columns=["id", "row"]):
            if pc.any(rows_with(pa.Table.from_batches([batch]), keys)).as_py():
                return True
    return False
