"""From a finished stream to a Parquet file and its index."""

from __future__ import annotations

import contextlib
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from serving.log.id_index import make_index
from serving.log.layout import Part
from serving.log.predicted import make_predicted
from serving.log.spool import StreamFile
from serving.log.store import Store
from serving.log.stream import read_stream

ROW_GROUP: Final = 16_384
"""Rows that are decoded to read one of them."""
_REPEATED: Final = frozenset({"client_id", "outcome", "arm", "revision", "principal"})
"""Columns of few values. A dictionary of features costs more time than it saves space."""


class Rolled(NamedTuple):
    """What a stream held: rows, and bytes of a torn message at its end."""

    rows: int
    torn: int


def roll(stream: StreamFile, store: Store) -> Rolled:
    """Make the part of a stream, then delete the stream. Doing it twice does it once.

    Raises:
        OSError, pyarrow.ArrowException: the part is not there; the stream still is.
    """
    content = read_stream(stream.path)
    rows = 0 if content.table is None else content.table.num_rows
    if rows:
        table = content.table.combine_chunks()
        part = Part(stream.dataset, stream.folder, stream.name, 0)
        # What is beside it first: a reader that sees a part relies on it.
        write_beside(table, part, store)
        private = stream.dataset == "sensitive"
        store.write(part.path, lambda file: write_part(table, file), private=private)
    stream.path.unlink(missing_ok=True)
    return Rolled(rows, content.torn)


def write_beside(table: Any, part: Part, store: Store) -> None:
    """Write the index of a part with these rows, and what labels need of them.

    Raises:
        OSError, pyarrow.ArrowException: it was not written.
    """
    own = table["id"] if "id" in table.column_names else None  # labels know no batch
    index = make_index(own, table["client_id"], ROW_GROUP)
    private = part.dataset == "sensitive"
    store.write(part.ids, lambda file: file.write(index), private=private)
    predicted = make_predicted(table)
    if predicted is not None:
        store.write(part.predicted, lambda file: file.write(predicted), private=private)


def write_part(table: Any, file: Any) -> None:
    """Write a table as the Parquet file of a part."""
    pq.write_table(
        table,
        file,
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP,
        use_dictionary=[name for name in table.column_names if name in _REPEATED],
        write_statistics=True,
        store_schema=True,
    )


def replace_part(store: Store, part: Part, before: Any, kept: Any) -> bool:
    """Write a part anew with the rows that are left of it; False: none are, it is deleted.

    Args:
        store: of the log.
        part: which one.
        before, kept: its table, and what is left of it.

    Raises:
        OSError, pyarrow.ArrowException: it was not, and is as it was; do it again.
    """
    # Without its index a reader looks at all of a part: it never trusts one of other rows.
    for path in part.beside:
        store.delete(path)
    private = part.dataset == "sensitive"
    try:
        if kept.num_rows:
            store.write(part.path, lambda file: write_part(kept, file), private=private)
        else:
            store.delete(part.path)
    except BaseException:
        with contextlib.suppress(*READ_ERRORS):
            write_beside(before, part, store)
        raise
    if kept.num_rows:
        write_beside(kept, part, store)
    return bool(kept.num_rows)


READ_ERRORS: Final = (OSError, pa.ArrowException)
"""What reading or writing a file of the log may raise."""
