"""What labels need of logged rows, sorted by `key`: 64 bits of a hash of client's id and index.

Two of a thousand million rows and a thousand labels share one with a probability of 1e-7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from serving.log.columns import PREDICTED, TOLD
from serving.log.id_hashes import crc_pair, crc_pairs
from serving.log.layout import partition_of

KEY: Final = "key"

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


class KeyedRows(NamedTuple):
    """Rows sorted by key.

    Attributes:
        rows: a record batch with the columns `key`, `time`, `predicted` and maybe `told`.
        keys: of the rows, uint64 [n].
    """

    rows: Any
    keys: np.ndarray


class WantedKeys:
    """Keys of predictions that are looked for.

    Args:
        keys: each once.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        pairs = np.fromiter((crc_pair(ident) for ident, _ in keys), np.uint64, len(keys))
        hashes = hash_keys(pairs, np.array([at for _, at in keys], np.int64))
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._order = order
        self._keys = keys

    def among(self, given: KeyedRows, folder: str) -> list[FoundPrediction]:
        """Return the predictions of these keys among rows.

        Args:
            given: the rows.
            folder: of the partition that they belong to.
        """
        rows, keys = given
        if not len(keys):
            return []
        first = np.searchsorted(keys, self._hashes)
        hits = np.flatnonzero(keys[np.minimum(first, len(keys) - 1)] == self._hashes)
        if not len(hits):
            return []
        first = first[hits]
        # Few of the keys are in one of many parts: the second search is for these alone.
        counts = np.searchsorted(keys, self._hashes[hits], side="right") - first
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        of_rows = [self._keys[place] for place in np.repeat(self._order[hits], counts).tolist()]
        return _predictions(rows.take(pa.array(np.repeat(first, counts) + steps)), folder, of_rows)


def keyed_rows(table: Any) -> KeyedRows:
    """Return what is needed of rows with `client_id`, `index`, `time` and `predicted`."""
    keys = hash_keys(crc_pairs(table["client_id"]), table["index"].to_numpy())
    columns = {KEY: pa.array(keys), "time": table["time"], PREDICTED: table[PREDICTED]}
    if TOLD in table.column_names:
        columns[TOLD] = table[TOLD]
    return _sorted(pa.table(columns), keys)


def merged(some: Sequence[KeyedRows]) -> KeyedRows:
    """Return the rows of all, which have the same columns."""
    keys = np.concatenate([each.keys for each in some])
    return _sorted(pa.Table.from_batches([each.rows for each in some]), keys)


def _sorted(table: Any, keys: np.ndarray) -> KeyedRows:
    # Stable, which takes sorted pieces as they are.
    order = np.argsort(keys, kind="stable")
    (batch,) = table.take(pa.array(order)).combine_chunks().to_batches()
    return KeyedRows(batch, keys[order])


def hash_keys(pairs: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return 64 bits of each of n keys, uint64 [n].

    Args:
        pairs: of the clients' ids of the requests, see `crc_pair`; uint64 [n].
        index: of the rows in them, int64 [n].
    """
    mixed: np.ndarray = pairs ^ (index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return mixed


def newest(found: Iterable[FoundPrediction]) -> list[FoundPrediction]:
    """Return the newest prediction of each key."""
    best: dict[Key, FoundPrediction] = {}
    for each in found:
        before = best.get(each.key)
        if before is None or each.timestamp > before.timestamp:
            best[each.key] = each
    return list(best.values())


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
