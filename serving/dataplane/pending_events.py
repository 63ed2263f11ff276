"""Batches of one model version that wait to leave as one message."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

Arrays = Mapping[str, np.ndarray]
_Batch = tuple[float, Sequence[str], Sequence[int], Arrays, Arrays, Arrays | None]


class JoinedEvents(msgspec.Struct):
    """Batches joined: columns over all their rows.

    Attributes:
        timestamp: when the last of them was answered.
        ids, rows: per request.
        inputs, outputs: arrays [total, ...] by name.
        sensitive: text or None per row by attribute.
        total: number of rows.
    """

    timestamp: float
    ids: list[str]
    rows: list[int]
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    sensitive: dict[str, list[str | None]]
    total: int


class PendingEvents:
    """Collects batches until somebody takes them.

    Attributes:
        rows: rows that wait.
        bytes: bytes of their inputs (of BYTES inputs: of the references to the values).
    """

    __slots__ = ("_batches", "bytes", "rows")

    def __init__(self) -> None:
        self._batches: list[_Batch] = []
        self.rows = 0
        self.bytes = 0

    def add(
        self,
        timestamp: float,
        ids: Sequence[str],
        rows: Sequence[int],
        inputs: Arrays,
        outputs: Arrays,
        sensitive: Arrays | None,
    ) -> bool:
        """Add a batch; False when it has no rows."""
        if not ids:
            return False
        self._batches.append((timestamp, ids, rows, inputs, outputs, sensitive))
        self.rows += rows[0] if len(rows) == 1 else sum(rows)
        for array in inputs.values():
            self.bytes += array.nbytes
        return True

    def take(self) -> Iterator[JoinedEvents]:
        """Give everything away; several parts only where batches differ in shape or outputs."""
        batches, self._batches = self._batches, []
        self.rows = self.bytes = 0
        if not _uniform(batches):
            for _, alike in itertools.groupby(batches, _signature):
                yield _join(list(alike))
        elif batches:
            yield _join(batches)


def _uniform(batches: list[_Batch]) -> bool:
    return len(batches) < 2 or len(set(map(_signature, batches))) == 1


def _signature(batch: _Batch) -> tuple[Any, ...]:
    return tuple(
        (name, array.dtype, array.shape[1:])
        for arrays in (batch[3], batch[4])
        for name, array in arrays.items()
    )


def _join(batches: list[_Batch]) -> JoinedEvents:
    ids = list(itertools.chain.from_iterable(batch[1] for batch in batches))
    rows = list(itertools.chain.from_iterable(batch[2] for batch in batches))
    return JoinedEvents(
        batches[-1][0],
        ids,
        rows,
        _concatenate([batch[3] for batch in batches]),
        _concatenate([batch[4] for batch in batches]),
        _sensitive(batches),
        sum(rows),
    )


def _concatenate(parts: list[Arrays]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sensitive(batches: list[_Batch]) -> dict[str, list[str | None]]:
    attributes = {name for batch in batches for name in batch[5] or ()}
    joined: dict[str, list[str | None]] = {name: [] for name in attributes}
    for name, column in joined.items():
        for batch in batches:
            values = (batch[5] or {}).get(name)
            column.extend([None] * sum(batch[2]) if values is None else values.tolist())
    return joined
