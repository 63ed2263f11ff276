"""From logged rows to Arrow record batches.

Column names: `in_<feature>` and `out_<feature>` for tensors whose columns have names,
`in_<tensor>` and `out_<tensor>` for others, `score_<guard>`. BYTES are text where all of them are
UTF-8, else binary. Half-precision numbers become single-precision ones, which hold them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from serving.log.rows import LoggedRequests, LogRows, ModelLog

_KEYS: Final = (
    ("id", pa.binary(16)), ("row", pa.int32()), ("client_id", pa.string()),
    ("index", pa.int32()), ("time", pa.timestamp("us", "UTC")),
)  # fmt: skip
_PER_REQUEST: Final = (
    ("outcome", "outcomes", pa.string()),
    ("arm", "arms", pa.string()),
    ("propensity", "propensities", pa.float64()),
    ("decisions", "decisions", pa.list_(pa.string())),
    ("queue_s", "queue_s", pa.float32()),
    ("total_s", "total_s", pa.float32()),
    ("trace_id", "trace_ids", pa.string()),
    ("principal", "principals", pa.string()),
)
_PER_BATCH: Final = (
    ("revision", pa.string()), ("compute_s", pa.float32()), ("guards_s", pa.float32()),
)  # fmt: skip


FIXED: Final = pa.schema([*_KEYS, *((name, kind) for name, _, kind in _PER_REQUEST), *_PER_BATCH])
"""Columns that every row has."""


def likeness(rows: LogRows) -> tuple[Any, ...]:
    """Return what must be equal for rows to be joined in one record batch."""
    return tuple(
        (name, array.dtype.char, array.shape[1:])
        for tensors in (rows.inputs, rows.outputs, rows.scores)
        for name, array in tensors.items()
    ) + tuple(_sensitive_likeness(rows.sensitive))


def _sensitive_likeness(sensitive: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, values in sensitive.items():
        array = isinstance(values, np.ndarray)
        yield ("sensitive", name, *((values.dtype.char, values.shape[1:]) if array else ()))


def prediction_batch(group: Sequence[LogRows], how: ModelLog) -> Any:
    """Return a record batch of rows that are alike, all n of them.

    Raises:
        ValueError, TypeError, pyarrow.ArrowException: arrays do not have as many rows as the
            requests, or hold what their type cannot.
    """
    columns = _key_columns(group)
    index = _request_of_each_row(group)
    for name, attribute, kind in _PER_REQUEST:
        values = _joined(group, attribute)
        columns[name] = _repeated(pa.array(values, kind), index)
    for name, kind in _PER_BATCH:
        per_batch = pa.array([getattr(rows, name) for rows in group], kind)
        columns[name] = per_batch.take(_batch_of_each_row(group))
    if how.capture != "none":
        for prefix, side in (("in_", "inputs"), ("out_", "outputs")):
            for name, array in _tensors(group, side).items():
                _add_tensor(columns, prefix, name, array, how)
    for name, array in _tensors(group, "scores").items():
        columns[f"score_{name}"] = _vector(array)
    return pa.record_batch(columns)


def sensitive_batch(group: Sequence[LogRows], how: ModelLog) -> Any:
    """Return the same rows' sensitive values; errors as for `prediction_batch`."""
    columns = _key_columns(group)
    for name, values in group[0].sensitive.items():
        joined: list[Any] = [rows.sensitive[name] for rows in group]
        if isinstance(values, np.ndarray):
            _add_tensor(columns, "", name, np.concatenate(joined), how)
        else:
            texts = pa.array(list(chain.from_iterable(joined)), pa.string())
            columns[_free(columns, name, "sensitive")] = texts
    return pa.record_batch(columns)


def kept_rows(batch: Any, sample: float) -> Any:
    """Return a mask of the rows of a prediction batch that are kept; None when all are.

    A request is kept or left out as a whole, decided by its id; errors and what a guard decided
    on are kept.
    """
    if sample >= 1:
        return None
    # Hashes of 64 random bits of the batch's id and of the row of the request's first row.
    own = np.frombuffer(b"".join(batch["id"].to_pylist()), "<u8")[1::2]
    first = batch["row"].to_numpy() - batch["index"].to_numpy()
    mixed = (own ^ first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    chosen = (mixed >> np.uint64(11)) < np.uint64(int(sample * 2**53))
    failed = np.array([outcome != "ok" for outcome in batch["outcome"].to_pylist()])
    decided = batch["decisions"].value_lengths().fill_null(0).to_numpy() > 0
    return pa.array(chosen | failed | decided)


def _key_columns(group: Sequence[LogRows]) -> dict[str, Any]:
    counts = [rows.count for rows in group]
    per_request = np.fromiter(chain.from_iterable(rows.requests.rows for rows in group), np.int64)
    of_batch = np.repeat(np.arange(len(group)), counts)
    ids = pa.array([rows.id for rows in group], _KEYS[0][1])
    times = pa.array([int(rows.time * 1e6) for rows in group], pa.int64()).cast(_KEYS[4][1])
    clients = pa.array(_joined(group, "client_ids"), pa.string())
    return {
        "id": ids.take(of_batch),
        "row": pa.array(_counted(counts), pa.int32()),
        "client_id": _repeated(clients, _request_of_each_row(group)),
        "index": pa.array(_counted(per_request), pa.int32()),
        "time": times.take(of_batch),
    }


def _counted(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return 0, 1, … up to each count, one behind the other."""
    lengths = np.asarray(counts, np.int64)
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _batch_of_each_row(group: Sequence[LogRows]) -> np.ndarray:
    return np.repeat(np.arange(len(group)), [rows.count for rows in group])


def _request_of_each_row(group: Sequence[LogRows]) -> np.ndarray | None:
    counts = np.fromiter(chain.from_iterable(rows.requests.rows for rows in group), np.int64)
    return None if (counts == 1).all() else np.repeat(np.arange(len(counts)), counts)


def _repeated(values: Any, index: np.ndarray | None) -> Any:
    return values if index is None else values.take(pa.array(index))


def _joined(group: Sequence[LogRows], attribute: str) -> list[Any]:
    return list(chain.from_iterable(_per_request(rows.requests, attribute) for rows in group))


def _per_request(requests: LoggedRequests, attribute: str) -> Iterable[Any]:
    return getattr(requests, attribute) or [None] * len(requests.client_ids)


def _tensors(group: Sequence[LogRows], side: str) -> dict[str, np.ndarray]:
    first: Mapping[str, np.ndarray] = getattr(group[0], side)
    return {name: np.concatenate([getattr(rows, side)[name] for rows in group]) for name in first}


def _add_tensor(
    columns: dict[str, Any], prefix: str, name: str, array: np.ndarray, how: ModelLog
) -> None:
    names = how.features.get(name)
    if array.ndim == 2 and names is not None and len(names) == array.shape[1]:
        for place, feature in enumerate(names):
            column = _free(columns, prefix + feature, prefix + name)
            columns[column] = _vector(np.ascontiguousarray(array[:, place]))
    elif array.ndim == 1 or array.shape[1:] == (1,):
        columns[_free(columns, prefix + name, prefix + name)] = _vector(array.reshape(-1))
    elif how.capture == "full":
        columns[_free(columns, prefix + name, prefix + name)] = _nested(array)


def _free(columns: Mapping[str, Any], wanted: str, tensor: str) -> str:
    """Return a column's name that is not taken: two tensors may have features of one name."""
    name = wanted
    if name in columns:
        name = f"{tensor}_{wanted}"
    number = 2
    while name in columns:
        name, number = f"{tensor}_{wanted}_{number}", number + 1
    return name


def _vector(array: np.ndarray) -> Any:
    if array.dtype == np.object_:
        values = array.tolist()
        try:
            return pa.array([None if each is None else _text(each) for each in values], pa.string())
        except UnicodeDecodeError:
            return pa.array(values, pa.binary())
    return pa.array(array.astype(np.float32) if array.dtype == np.float16 else array)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def _nested(array: np.ndarray) -> Any:
    """Return an array [n, a, b, …] as lists of lists, so that shapes may differ between rows."""
    column = _vector(array.reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        lists = int(np.prod(array.shape[:axis], dtype=np.int64))
        offsets = np.arange(lists + 1, dtype=np.int64) * array.shape[axis]
        column = pa.LargeListArray.from_arrays(pa.array(offsets), column)
    return column
