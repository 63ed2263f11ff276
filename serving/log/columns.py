"""From logged rows to Arrow record batches.

Column names: `in_<feature>` and `out_<feature>` for tensors whose columns have names,
`in_<tensor>` and `out_<tensor>` for others, `score_<guard>`. BYTES are text where all of them are
UTF-8, else binary. Half-precision numbers become single-precision ones, which hold them exactly.

Of models that take labels there is `predicted`, what labels are compared with, and `told`, names of
the sensitive attributes that came with the request.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from serving.log.rows import ID_BYTES, LogRows, ModelLog, Predicted

_KEYS: Final = (
    ("id", pa.binary(ID_BYTES)), ("row", pa.int32()), ("client_id", pa.string()),
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
_PER_BATCH: Final = ("compute_s", "guards_s")


FIXED: Final = pa.schema(
    [
        *_KEYS,
        *((name, kind) for name, _, kind in _PER_REQUEST),
        ("revision", pa.string()),
        *((name, pa.float32()) for name in _PER_BATCH),
    ]
)
"""Columns that every row has."""


PREDICTED: Final = "predicted"
TOLD: Final = "told"


def likeness(rows: LogRows) -> tuple[Any, ...]:
    """Return what must be equal for rows to be joined in one record batch."""
    tensors = [
        (name, array.dtype.char, array.shape[1:])
        for side in (rows.inputs, rows.outputs, rows.scores)
        for name, array in side.items()
    ]
    return (*tensors, *_sensitive_likeness(rows.sensitive), rows.predicted)


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
    owners = _Owners(group)
    columns = _key_columns(group, owners)
    for name, attribute, kind in _PER_REQUEST:
        values = [(getattr(rows.requests, attribute), rows.requests.client_ids) for rows in group]
        columns[name] = _spread(values, kind, owners.request, owners.count)
    columns["revision"] = _repeated(
        pa.array([rows.revision for rows in group], pa.string()), owners.group
    )
    for name in _PER_BATCH:
        of_batches = [(getattr(rows.batches, name), rows.batches.requests) for rows in group]
        columns[name] = _spread(of_batches, pa.float32(), owners.batch, owners.count)
    if how.capture != "none":
        for prefix, side in (("in_", "inputs"), ("out_", "outputs")):
            for name, array in _tensors(group, side).items():
                _add_tensor(columns, prefix, name, array, how)
    for name, array in _tensors(group, "scores").items():
        # Null where a guard has not judged the row.
        columns[f"score_{name}"] = pa.array(array, from_pandas=True)
    predicted = group[0].predicted
    if how.capture != "none" and predicted is not None:
        _add_predicted(columns, group, predicted, owners.count)
    return pa.record_batch(columns)


def sensitive_batch(group: Sequence[LogRows], how: ModelLog) -> Any:
    """Return the same rows' sensitive values; errors as for `prediction_batch`."""
    columns = _key_columns(group, _Owners(group))
    for name, values in group[0].sensitive.items():
        joined: list[Any] = [rows.sensitive[name] for rows in group]
        if isinstance(values, np.ndarray):
            _add_tensor(columns, "", name, np.concatenate(joined), how)
        else:
            texts = pa.array(list(chain.from_iterable(joined)), pa.string())
            columns[free_name(columns, name, "sensitive")] = texts
    return pa.record_batch(columns)


def _add_predicted(
    columns: dict[str, Any], group: Sequence[LogRows], predicted: Predicted, count: int
) -> None:
    try:
        values = predicted(_tensors(group, "outputs"))
    except Exception:  # noqa: BLE001 - no answers, or not such as it gives; the rows are logged
        return
    if len(values) != count:
        return
    columns[PREDICTED] = _nested(values)
    if group[0].sensitive:
        told = [_told(rows.sensitive, sum(rows.requests.rows)) for rows in group]
        columns[TOLD] = pa.array(list(chain.from_iterable(told)), pa.list_(pa.string()))


def _told(sensitive: Mapping[str, Any], count: int) -> list[list[str]]:
    """Return the names of what was told of each row."""
    named: list[list[str]] = [[] for _ in range(count)]
    for name, values in sensitive.items():
        for names, value in zip(named, values, strict=True):
            if value is not None:
                names.append(name)
    return named


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


class _Owners:
    """Whose each of the n rows of a group is: its request, batch and `LogRows`, int64 [n].

    Attributes:
        count: number of rows n.
        rows: of each request.
        request: None where each row is a request of its own.
    """

    def __init__(self, group: Sequence[LogRows]) -> None:
        self.rows = np.fromiter(chain.from_iterable(each.requests.rows for each in group), np.int64)
        batches = list(chain.from_iterable(each.batches.requests for each in group))
        self.count = int(self.rows.sum())
        one_each = (self.rows == 1).all()
        requests = np.arange(len(self.rows))
        self.request = None if one_each else np.repeat(requests, self.rows)
        self.batch = self._of_rows(np.repeat(np.arange(len(batches)), batches))
        sizes = [sum(each.batches.requests) for each in group]
        self.group = self._of_rows(np.repeat(np.arange(len(group)), sizes))

    def _of_rows(self, of_requests: np.ndarray) -> np.ndarray:
        if len(of_requests) != len(self.rows):
            raise ValueError("batches do not have as many requests as there are")
        found: np.ndarray = of_requests if self.request is None else of_requests[self.request]
        return found


def _key_columns(group: Sequence[LogRows], owners: _Owners) -> dict[str, Any]:
    ids = b"".join([each.batches.ids for each in group])
    times = list(chain.from_iterable(each.batches.times for each in group))
    clients = list(chain.from_iterable(each.requests.client_ids for each in group))
    first = np.fromiter(chain.from_iterable(each.first_rows() for each in group), np.int64)
    index = _counted(owners.rows)
    return {
        "id": _repeated(_fixed(ids, len(times)), owners.batch),
        "row": pa.array((first if owners.request is None else first[owners.request]) + index,
                        pa.int32()),
        "client_id": _repeated(pa.array(clients, pa.string()), owners.request),
        "index": pa.array(index, pa.int32()),
        "time": _repeated(
            pa.array([int(time * 1e6) for time in times], pa.int64()).cast(_KEYS[4][1]),
            owners.batch,
        ),
    }  # fmt: skip


def _fixed(ids: bytes, count: int) -> Any:
    if len(ids) != count * ID_BYTES:
        raise ValueError("there are not as many ids as batches")
    return pa.Array.from_buffers(pa.binary(ID_BYTES), count, [None, pa.py_buffer(ids)])


def _counted(lengths: np.ndarray) -> np.ndarray:
    """Return 0, 1, … up to each length, one behind the other."""
    ends = np.cumsum(lengths)
    count = int(ends[-1]) if len(ends) else 0
    found: np.ndarray = np.arange(count) - np.repeat(ends - lengths, lengths)
    return found


def _repeated(values: Any, index: np.ndarray | None) -> Any:
    return values if index is None else values.take(pa.array(index))


def _spread(
    given: Sequence[tuple[Sequence[Any], Sequence[Any]]],
    kind: Any,
    index: np.ndarray | None,
    count: int,
) -> Any:
    """Return a column of values that belong to requests or batches.

    Args:
        given: of each `LogRows` the values, none where nobody knows, and what there should be one
            of for each.
        index: whose each row is.
    """
    if not any(values for values, _ in given):
        return pa.nulls(count, kind)
    joined = [list(values) if len(values) else [None] * len(owners) for values, owners in given]
    return _repeated(pa.array(list(chain.from_iterable(joined)), kind), index)


def _tensors(group: Sequence[LogRows], side: str) -> dict[str, np.ndarray]:
    first: Mapping[str, np.ndarray] = getattr(group[0], side)
    return {name: np.concatenate([getattr(rows, side)[name] for rows in group]) for name in first}


def _add_tensor(
    columns: dict[str, Any], prefix: str, name: str, array: np.ndarray, how: ModelLog
) -> None:
    names = how.features.get(name)
    if array.ndim == 2 and names is not None and len(names) == array.shape[1]:
        for place, feature in enumerate(names):
            column = free_name(columns, prefix + feature, prefix + name)
            columns[column] = _vector(np.ascontiguousarray(array[:, place]))
    elif array.ndim == 1 or (array.shape[1:] == (1,) and not _is_list(name, how)):
        columns[free_name(columns, prefix + name, prefix + name)] = _vector(array.reshape(-1))
    elif how.capture == "full":
        columns[free_name(columns, prefix + name, prefix + name)] = _nested(array)


def _is_list(name: str, how: ModelLog) -> bool:
    # Where only single values are kept, there is no list that they could stand beside.
    return how.capture == "full" and name in how.lists


def free_name(taken: Container[str], wanted: str, tensor: str) -> str:
    """Return a column's name that is not taken: two tensors may have features of one name."""
    name = wanted
    if name in taken:
        name = f"{tensor}_{wanted}"
    number = 2
    while name in taken:
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
