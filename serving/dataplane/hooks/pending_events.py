"""Batches of one model version that wait to leave as one message."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from serving.channel.messages.observation import UNJUDGED, BatchColumns, RequestColumns
from serving.dataplane.hooks.event_batches import EventBatch, joined_columns

_Columns = tuple[Mapping[str, list[np.ndarray]], Mapping[str, list[np.ndarray]]]


class JoinedEvents(msgspec.Struct):
    """Batches joined: columns over all their rows.

    Attributes:
        timestamp: when the last of them was answered.
        ids, rows: per request.
        inputs, outputs: arrays [total, ...] by name.
        sensitive: text or None per row by attribute.
        scores: float32 [total] by guard, NaN in rows that one has not judged.
        total: number of rows.
        batches, requests: for the prediction log; None where the model is not logged.
        guards: what became of each row, a byte for each, by guard.
    """

    timestamp: float
    ids: list[str]
    rows: list[int]
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    sensitive: dict[str, list[str | None]]
    scores: dict[str, np.ndarray]
    total: int
    batches: BatchColumns | None
    requests: RequestColumns | None
    guards: dict[str, bytes]


class PendingEvents:
    """Collects batches until somebody takes them.

    Attributes:
        requests, rows: those that wait.
        bytes: of their inputs, outputs and scores (of BYTES: of the references to the values, where
            nobody has counted more).
    """

    __slots__ = ("_batches", "bytes", "requests", "rows")

    def __init__(self) -> None:
        self._batches: list[EventBatch] = []
        self.requests = 0
        self.rows = 0
        self.bytes = 0

    def add(self, batch: EventBatch) -> bool:
        """Add a batch; False when it has no requests."""
        rows = batch.rows
        if not rows:
            return False
        self._batches.append(batch)
        self.requests += len(rows)
        self.rows += rows[0] if len(rows) == 1 else sum(rows)
        for array in batch.inputs.values():
            self.bytes += array.nbytes
        for array in batch.outputs.values():
            self.bytes += array.nbytes
        self.bytes += batch.text_bytes
        if batch.scores:
            for array in batch.scores.values():
                self.bytes += array.nbytes
        return True

    def take(self) -> Iterator[JoinedEvents]:
        """Give everything away; several parts only where batches differ in shape or outputs."""
        batches, self._batches = self._batches, []
        self.requests = self.rows = self.bytes = 0
        if not batches:
            return
        columns = _columns(batches)
        if columns is not None:
            yield _join(batches, columns)
            return
        for _, run in itertools.groupby(batches, _signature):
            alike = list(run)
            columns = _columns(alike)
            assert columns is not None  # their signatures are equal
            yield _join(alike, columns)


def _columns(batches: list[EventBatch]) -> _Columns | None:
    """Return the arrays of all batches by name, inputs and outputs; None: they cannot be joined.

    A signature per batch would say the same, and cost more than all the rest of a message.
    """
    found = []
    for sides in ([batch.inputs for batch in batches], [batch.outputs for batch in batches]):
        names = sides[0].keys()
        if any(side.keys() != names for side in sides):
            return None
        columns = {name: [side[name] for side in sides] for name in names}
        for arrays in columns.values():
            if len({array.dtype for array in arrays}) + len({a.shape[1:] for a in arrays}) > 2:
                return None
        found.append(columns)
    return found[0], found[1]


def _signature(batch: EventBatch) -> frozenset[Any]:
    return frozenset(
        (at, name, array.dtype, array.shape[1:])
        for at, side in enumerate((batch.inputs, batch.outputs))
        for name, array in side.items()
    )


def _join(batches: list[EventBatch], columns: _Columns) -> JoinedEvents:
    ids = list(itertools.chain.from_iterable([batch.ids for batch in batches]))
    rows = list(itertools.chain.from_iterable([batch.rows for batch in batches]))
    inputs, outputs = map(_concatenate, columns)
    return JoinedEvents(
        batches[-1].timestamp, ids, rows, inputs, outputs, _sensitive(batches),
        _scores(batches), sum(rows), *joined_columns(batches), _guards(batches),
    )  # fmt: skip


def _concatenate(columns: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        for name, arrays in columns.items()
    }


def _scores(batches: list[EventBatch]) -> dict[str, np.ndarray]:
    """Join scores; a guard that is skipped for a while must not cut a message into many."""
    scored = [batch.scores for batch in batches if batch.scores]
    return {
        guard: np.concatenate([
            batch.scores[guard] if batch.scores and guard in batch.scores
            else np.full(sum(batch.rows), np.nan, np.float32)
            for batch in batches
        ])
        for guard in dict.fromkeys(guard for scores in scored for guard in scores)
    }  # fmt: skip


def _guards(batches: list[EventBatch]) -> dict[str, bytes]:
    """Join what became of rows; a batch that says nothing of a guard was not judged by it."""
    told = [batch.guards for batch in batches if batch.guards]
    return {
        guard: b"".join([
            batch.guards[guard].tobytes() if batch.guards and guard in batch.guards
            else bytes([UNJUDGED]) * sum(batch.rows)
            for batch in batches
        ])
        for guard in dict.fromkeys(guard for each in told for guard in each)
    }  # fmt: skip


def _sensitive(batches: list[EventBatch]) -> dict[str, list[str | None]]:
    attributes = {
        name for given in [batch.sensitive for batch in batches] if given for name in given
    }
    joined: dict[str, list[str | None]] = {name: [] for name in attributes}
    for name, column in joined.items():
        for batch in batches:
            values = (batch.sensitive or {}).get(name)
            column.extend([None] * sum(batch.rows) if values is None else values.tolist())
    return joined
