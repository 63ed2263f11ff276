"""What labels need of a part, in a file beside it: so no page of Parquet is read for a label.

It is an Arrow IPC file without compression, one row for each of the part, as `keyed_rows` sorts
them. It is 24 bytes a row where answers are classes or numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from serving.log.columns import PREDICTED, TOLD
from serving.log.footers import Footers
from serving.log.kept import Kept
from serving.log.keyed_rows import KEY, FoundPrediction, KeyedRows, WantedKeys, keyed_rows
from serving.log.layout import Part
from serving.log.store import Store

_NEEDED: Final = ("client_id", "index", "time", PREDICTED)


def make_predicted(table: Any) -> bytes | None:
    """Return the file of a part with these rows; None where nothing of them can have a label."""
    if PREDICTED not in table.column_names:
        return None
    rows = keyed_rows(table).rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


class PredictedRows:
    """Looks rows of parts up by the files beside them; those that were used last stay open.

    Args:
        store: where they are.
        footers: schemas of the parts.
        most_bytes: of what is kept; files on the local disk are mapped, and cost no memory.
    """

    def __init__(self, store: Store, footers: Footers, most_bytes: int = 256 << 20) -> None:
        self._store = store
        self._footers = footers
        self._kept: Kept[Part, KeyedRows] = Kept(self._keyed, most_bytes)

    def find(self, parts: Iterable[Part], wanted: WantedKeys) -> list[FoundPrediction]:
        """Return what rows of the parts are of these keys.

        Raises:
            OSError, pyarrow.ArrowException: one cannot be read.
        """
        found: list[FoundPrediction] = []
        for part in parts:
            try:
                rows = self._kept.get(part)
            except FileNotFoundError:
                continue  # retention has deleted it meanwhile
            found += wanted.among(rows, part.folder)
        return found

    def _keyed(self, part: Part) -> tuple[KeyedRows, int]:
        rows, size = self._read(part)
        return KeyedRows(rows, rows[KEY].to_numpy()), size

    def _read(self, part: Part) -> tuple[Any, int]:
        """Return the rows of a part and the bytes of memory that they take."""
        try:
            if self._store.local is not None:
                source = pa.memory_map(str(self._store.local / part.predicted))
                return pa.ipc.open_file(source).get_batch(0), 0
            content = self._store.read(part.predicted)
            return pa.ipc.open_file(pa.py_buffer(content)).get_batch(0), len(content)
        except (FileNotFoundError, pa.ArrowException):
            rows = self._of_part(part)  # one that was made before there were such files
            return rows, rows.nbytes

    def _of_part(self, part: Part) -> Any:
        schema = self._footers.schemas([part]).get(part)
        if schema is None:
            raise FileNotFoundError(part.path)
        if PREDICTED not in schema.names:
            return pa.record_batch({KEY: pa.array([], pa.uint64())})
        columns = [name for name in (*_NEEDED, TOLD) if name in schema.names]
        path = self._store.full(part.path)
        with pq.ParquetFile(path, filesystem=self._store.filesystem) as file:
            return keyed_rows(file.read(columns)).rows
