"""What labels need of a part, in a file beside it: so no page of Parquet is read for a label.

It is an Arrow IPC file without compression, one row for each of the part, sorted by `key`: 64 bits
of a hash of the client's id and the index. Two of a thousand million rows and a thousand labels
share one with a probability of 1e-7. It is 24 bytes a row where answers are classes or numbers.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.log.columns import PREDICTED, TOLD
from serving.log.footers import Footers
from serving.log.layout import Part, partition_of
from serving.log.store import Store

_KEY: Final = "key"
_NEEDED: Final = ("client_id", "index", "time", PREDICTED)

Key = tuple[str, int]
"""The client's id of a request, and the row in it."""


class FoundPrediction(NamedTuple):
    """A logged prediction.

    Attributes:
        key: the client's id of its request, and the row in it.
        version: that has answered.
        timestamp: seconds since the epoch when it was answered.
        predicted: class index, number or numbers.
        known: names of the sensitive attributes that came with the request.
    """

    key: Key
    version: str
    timestamp: float
    predicted: Any
    known: list[str]


def make_predicted(table: Any) -> bytes | None:
    """Return the file of a part with these rows; None where nothing of them can have a label."""
    if PREDICTED not in table.column_names:
        return None
    rows = _sorted_rows(table)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def found_in_table(table: Any, folder: str, keys: Sequence[Key]) -> list[FoundPrediction]:
    """Return what rows of a stream are of these keys."""
    if PREDICTED not in table.column_names:
        return []
    ids = pa.array(sorted({_utf8(ident) for ident, _ in keys}), pa.string())
    some = table.filter(pc.is_in(table["client_id"], value_set=ids))
    wanted = frozenset(keys)
    at = [
        place
        for place, key in enumerate(
            zip(some["client_id"].to_pylist(), some["index"].to_pylist(), strict=True)
        )
        if key in wanted
    ]
    rows = some.take(pa.array(at, pa.int64()))
    found = zip(rows["client_id"].to_pylist(), rows["index"].to_pylist(), strict=True)
    return _predictions(rows, folder, list(found))


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
        self._most = most_bytes
        self._kept: OrderedDict[Part, tuple[Any, np.ndarray, int]] = OrderedDict()
        self._bytes = 0

    def find(self, parts: Iterable[Part], keys: Sequence[Key]) -> list[FoundPrediction]:
        """Return what rows of the parts are of these keys.

        Raises:
            OSError, pyarrow.ArrowException: one cannot be read.
        """
        hashes = hash_keys([ident for ident, _ in keys], np.array([at for _, at in keys], np.int64))
        order = np.argsort(hashes)
        hashes = hashes[order]
        found: list[FoundPrediction] = []
        for part in parts:
            try:
                rows, sorted_keys = self._rows(part)
            except FileNotFoundError:
                continue  # retention has deleted it meanwhile
            if not len(sorted_keys):
                continue
            first = np.searchsorted(sorted_keys, hashes)
            there = sorted_keys[np.minimum(first, len(sorted_keys) - 1)] == hashes
            hits = np.flatnonzero(there)
            if len(hits):
                first = first[hits]
                # Few of the keys are in one of many parts: the second search is for these alone.
                counts = np.searchsorted(sorted_keys, hashes[hits], side="right") - first
                steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                of_rows = [keys[place] for place in np.repeat(order[hits], counts).tolist()]
                some = rows.take(pa.array(np.repeat(first, counts) + steps))
                found += _predictions(some, part.folder, of_rows)
        return found

    def _rows(self, part: Part) -> tuple[Any, np.ndarray]:
        known = self._kept.get(part)
        if known is not None:
            self._kept.move_to_end(part)
            return known[:2]
        rows, size = self._read(part)
        sorted_keys = rows[_KEY].to_numpy()
        self._kept[part] = rows, sorted_keys, size
        self._bytes += size
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][2]
        return rows, sorted_keys

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
            return pa.record_batch({_KEY: pa.array([], pa.uint64())})
        columns = [name for name in (*_NEEDED, TOLD) if name in schema.names]
        path = self._store.full(part.path)
        with pq.ParquetFile(path, filesystem=self._store.filesystem) as file:
            return _sorted_rows(file.read(columns))


def hash_keys(client_ids: Sequence[str], index: np.ndarray) -> np.ndarray:
    """Return 64 bits of each of n keys, uint64 [n].

    Args:
        client_ids: of the requests.
        index: of the rows in them, int64 [n].
    """
    # A CRC of the bytes and one of them backwards tell apart what either does not.
    hashed = {}
    for ident in dict.fromkeys(client_ids):
        text = ident.encode("utf-8", "surrogatepass")
        hashed[ident] = zlib.crc32(text) << 32 | zlib.crc32(text[::-1])
    hashes = np.fromiter((hashed[ident] for ident in client_ids), np.uint64, len(client_ids))
    mixed: np.ndarray = hashes ^ (index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return mixed


def newest(found: Iterable[FoundPrediction]) -> list[FoundPrediction]:
    """Return the newest prediction of each key."""
    best: dict[Key, FoundPrediction] = {}
    for each in found:
        before = best.get(each.key)
        if before is None or each.timestamp > before.timestamp:
            best[each.key] = each
    return list(best.values())


def _sorted_rows(table: Any) -> Any:
    """Return a record batch of what is needed, sorted by key."""
    index = table["index"].to_numpy()
    keys = hash_keys(table["client_id"].to_pylist(), index)
    columns = {_KEY: pa.array(keys), "time": table["time"], PREDICTED: table[PREDICTED]}
    if TOLD in table.column_names:
        columns[TOLD] = table[TOLD]
    order = pa.array(np.argsort(keys, kind="stable"))
    (batch,) = pa.table(columns).take(order).combine_chunks().to_batches()
    return batch


def _predictions(rows: Any, folder: str, keys: Sequence[Key]) -> list[FoundPrediction]:
    partition = partition_of(folder)
    assert partition is not None, "streams and parts are found by their partition"
    told = rows[TOLD].to_pylist() if TOLD in rows.schema.names else [[]] * len(keys)
    times = (rows["time"].cast(pa.int64()).to_numpy() / 1e6).tolist()
    predicted = rows[PREDICTED].to_pylist()
    return [
        FoundPrediction(key, partition.version, time, value, known or [])
        for key, time, value, known in zip(keys, times, predicted, told, strict=True)
        if value is not None
    ]


def _utf8(ident: str) -> str:
    """Return a text that Arrow can hold; the log has no other ones."""
    return ident.encode("utf-8", "replace").decode()
