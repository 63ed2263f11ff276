"""What is logged: rows of batches as struct of arrays, and how a model is logged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from serving.config.log import Capture

Predicted = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Gives what labels are compared with, [n] or [n, k], from outputs by name; raises KeyError or
ValueError where they are not such."""

ID_BYTES: Final = 16
"""Bytes of a batch's id, a UUIDv7."""


@dataclass(frozen=True, slots=True)
class LoggedBatches:
    """The b batches that rows belong to; every list has length b, or is empty.

    Attributes:
        ids: 16 bytes each, one behind the other.
        requests: how many requests each has.
        times: seconds since the epoch when each was answered, all on one day (UTC).
        compute_s, guards_s: seconds in the model and in its guards.
    """

    ids: bytes
    requests: Sequence[int]
    times: Sequence[float]
    compute_s: Sequence[float] = ()
    guards_s: Sequence[float] = ()

    def id(self, batch: int) -> bytes:
        """Return the id of a batch."""
        return self.ids[batch * ID_BYTES : (batch + 1) * ID_BYTES]


@dataclass(frozen=True, slots=True)
class LoggedRequests:
    """The r requests of batches; every list has length r, or is empty where nobody knows.

    Attributes:
        client_ids: the clients' ids.
        rows: how many rows each has.
        first_rows: row of each one's first row in its batch: row i of it has the id (batch,
            first + i). Empty: they follow each other.
        outcomes: of `serving/telemetry/outcomes.py`.
        queue_s, total_s: seconds in the queue; from arrival to answer.
        decisions: texts `<guard>:<action>` of guards that did more than let it pass.
        arms: of the traffic split that chose the version.
        propensities: the probability with which that arm was chosen.
        trace_ids: W3C trace ids as hexadecimal text.
        principals: who asked.
    """

    client_ids: Sequence[str]
    rows: Sequence[int]
    outcomes: Sequence[str]
    queue_s: Sequence[float] = ()
    total_s: Sequence[float] = ()
    decisions: Sequence[Sequence[str]] = ()
    arms: Sequence[str | None] = ()
    propensities: Sequence[float | None] = ()
    trace_ids: Sequence[str | None] = ()
    principals: Sequence[str | None] = ()
    first_rows: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class LogRows:
    """The n rows of batches that one version has answered on one day.

    Attributes:
        model, version, revision: what answered.
        batches: whose requests they are; their `requests` add up to r.
        requests: whose rows they are; their `rows` add up to n.
        inputs, outputs: arrays [n, ...] by tensor; BYTES are object arrays of bytes. Requests
            without outputs, or without readable inputs, come in a `LogRows` of their own.
        scores: of guards, float arrays [n] by `<guard>`.
        sensitive: values by name, [n, ...] arrays or one text or None per row.
        predicted: gives what labels are compared with; None where the version takes none.
    """

    model: str
    version: str
    batches: LoggedBatches
    requests: LoggedRequests
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    sensitive: Mapping[str, np.ndarray | Sequence[str | None]] = field(default_factory=dict)
    revision: str = ""
    predicted: Predicted | None = None

    @property
    def count(self) -> int:
        """Number of rows n."""
        return sum(self.requests.rows)

    @property
    def time(self) -> float:
        """When the first batch was answered, seconds since the epoch."""
        return self.batches.times[0]

    @property
    def nbytes(self) -> int:
        """About how many bytes it holds."""
        arrays = (*self.inputs.values(), *self.outputs.values(), *self.scores.values())
        fixed = 200 * len(self.requests.client_ids) + 16 * len(self.sensitive) * self.count
        return fixed + sum(_nbytes(array) for array in arrays)

    def first_rows(self) -> Sequence[int]:
        """Return the row of each request's first row in its batch."""
        if self.requests.first_rows:
            return self.requests.first_rows
        found: list[int] = []
        sizes = iter(self.requests.rows)
        for requests in self.batches.requests:
            first = 0
            for _ in range(requests):
                found.append(first)
                first += next(sizes)
        return found

    def request_keys(self) -> list[tuple[bytes, int]]:
        """Return the id of each request's first row: its batch's, and the row there."""
        batches = self.batches
        owners = [batches.id(at) for at, n in enumerate(batches.requests) for _ in range(n)]
        return list(zip(owners, self.first_rows(), strict=True))

    def chosen(self, positions: Sequence[int]) -> LogRows:
        """Return the rows of the requests at these positions, which ascend; a copy."""
        batches, requests = self.batches, self.requests
        at = np.asarray(positions, np.int64)
        owner = np.repeat(np.arange(len(batches.requests)), batches.requests)[at]
        counts = np.bincount(owner, minlength=len(batches.requests))
        kept = np.flatnonzero(counts).tolist()
        ends = np.cumsum(requests.rows)
        spans = [np.arange(ends[each] - requests.rows[each], ends[each]) for each in positions]
        rows = np.concatenate(spans) if spans else np.arange(0)
        return replace(
            self,
            batches=LoggedBatches(
                b"".join([batches.id(each) for each in kept]),
                counts[kept].tolist(),
                *(_picked(getattr(batches, name), kept) for name in _OF_BATCH),
            ),
            requests=LoggedRequests(
                **{name: _picked(getattr(requests, name), positions) for name in _OF_REQUEST}
                | {"first_rows": _picked(self.first_rows(), positions)}
            ),
            inputs={name: array[rows] for name, array in self.inputs.items()},
            outputs={name: array[rows] for name, array in self.outputs.items()},
            scores={name: array[rows] for name, array in self.scores.items()},
            sensitive={name: _rows_of(values, rows) for name, values in self.sensitive.items()},
        )


_OF_BATCH: Final = ("times", "compute_s", "guards_s")
_OF_REQUEST: Final = tuple(each.name for each in fields(LoggedRequests))


def _picked(values: Sequence[Any], positions: Sequence[int]) -> list[Any]:
    return [values[at] for at in positions] if values else []


def _rows_of(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def _nbytes(array: np.ndarray) -> int:
    if array.dtype != np.object_:
        return array.nbytes
    return 50 * array.size + sum(len(each) for each in array.flat)


@dataclass(frozen=True, slots=True)
class ModelLog:
    """How a model is logged.

    Attributes:
        capture, sample: as in the configuration.
        features: names of the columns of two-dimensional tensors, by tensor.
        lists: tensors that are lists also where they have one value per row.
    """

    capture: Capture = "full"
    sample: float = 1.0
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lists: Collection[str] = ()
