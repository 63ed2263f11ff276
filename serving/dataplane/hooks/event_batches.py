"""What one batch, or one refused request, adds to a message of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from serving.access.principals import ANYBODY
from serving.channel.messages.observation import ANSWERED, BatchColumns, RequestColumns
from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.records import RequestDone, RequestRefused
from serving.dataplane.requests.bound import Fitting
from serving.dataplane.requests.decisions import RowDecision
from serving.models.logged import Tensors
from serving.protocol.weight import weight
from serving.telemetry.outcomes import OUTCOME_OK

Arrays = Mapping[str, np.ndarray]

MOST_REFUSED_BYTES: Final = 4 << 20
"""Inputs and sensitive values of a refused request; larger ones stay out, for they would cost
others their room."""


class EventKey(NamedTuple):
    """Events that may be joined to one message.

    Attributes:
        model, version, revision: what answered, as it is served.
        upstream: version that another server gave the answers; empty where it is `version`.
        kind: as in `EventMeta`.
        inputs: of refused requests those that are told.
    """

    model: str
    version: str
    revision: str = ""
    upstream: str = ""
    kind: str = ANSWERED
    inputs: tuple[str, ...] = ()


class LogColumns(msgspec.Struct):
    """What the prediction log needs to know of a batch; see `BatchColumns` and `RequestColumns`."""

    id: bytes
    compute_ns: int
    guards_ns: int
    requests: RequestColumns


class EventBatch(msgspec.Struct):
    """A batch on its way to the monitor.

    Attributes:
        timestamp: when it was answered, seconds since the epoch.
        ids, rows: per request.
        inputs, outputs: arrays [total, ...] by name; not copied where all are told.
        sensitive: object arrays of text or None per row, by attribute.
        scores: float32 [total] by guard, NaN in rows that one has not judged.
        log: for the prediction log; None where the model is not logged.
        guards: what became of each row, uint8 [total] by guard; None where nobody watches that.
        text_bytes: of BYTES values and sensitive ones, where they were counted.
    """

    timestamp: float
    ids: Sequence[str]
    rows: Sequence[int]
    inputs: Arrays
    outputs: Arrays
    sensitive: Arrays | None = None
    log: LogColumns | None = None
    scores: Arrays | None = None
    text_bytes: int = 0
    guards: Arrays | None = None


def log_columns(
    batch: bytes, compute_ns: int, guards_ns: int, answered: float, requests: Sequence[RequestDone]
) -> LogColumns:
    """Return what the log needs to know of requests of a batch that was answered at `answered`."""
    made = _none()
    first_rows, queue_s, total_s = made.first_rows, made.queue_s, made.total_s
    for position, request in enumerate(requests):
        first_rows.append(request.row)
        queue_s.append(request.queue_s)
        total_s.append(answered - request.arrived)
        if request.outcome is not OUTCOME_OK:
            made.outcomes[position] = request.outcome
            if request.refused:
                made.told_elsewhere.append(position)
        context = request.context
        if request.decisions or request.arm or context.traceparent or context.principal != ANYBODY:
            _note(made, position, request.decisions, request.arm, context)
    return LogColumns(batch, compute_ns, guards_ns, made)


def refused_batch(refused: RequestRefused, kept: Tensors | None = None) -> EventBatch:
    """Return what a request that no batch has answered adds to a message.

    Args:
        refused: the request.
        kept: inputs that the log keeps; None where it keeps no values.
    """
    made = _none()
    made.first_rows.append(0)
    made.queue_s.append(refused.waited_s)
    made.total_s.append(refused.waited_s)
    made.outcomes[0] = refused.failure.outcome
    _note(made, 0, refused.decisions, refused.arm, refused.context)
    log = LogColumns(refused.id, 0, 0, made)
    batch = EventBatch(refused.time, (refused.client_id,), (refused.rows,), {}, {}, None, log)
    if kept is not None:
        if refused.scores is not None:
            batch.scores = _owned(refused.scores)
        if refused.fitting is not None:
            _add_inputs(batch, refused.fitting, kept)
    return batch


def _add_inputs(batch: EventBatch, fitting: Fitting, kept: Tensors) -> None:
    inputs = fitting.inputs
    if isinstance(kept, frozenset):
        inputs = _named(inputs, kept)
    sensitive = fitting.sensitive or {}
    size = sum(map(weight, (*inputs.values(), *sensitive.values())))
    if size <= MOST_REFUSED_BYTES:
        batch.inputs, batch.sensitive = _owned(inputs), fitting.sensitive
        batch.text_bytes = size - sum(array.nbytes for array in inputs.values())


def some_of(arrays: Arrays, wanted: frozenset[str]) -> Arrays:
    """Return those of a batch's arrays that somebody wants.

    Where these are not all, views are copied: what they are views on holds the others too, and a
    message is kept for as long as its monitor is away.
    """
    chosen = _named(arrays, wanted)
    return arrays if len(chosen) == len(arrays) else _owned(chosen)


def _named(arrays: Arrays, wanted: frozenset[str]) -> Arrays:
    return {name: array for name, array in arrays.items() if name in wanted}


def _owned(arrays: Arrays) -> Arrays:
    """Return arrays that hold nothing but themselves; a view holds a whole body, or a batch."""
    return {name: array if array.base is None else array.copy() for name, array in arrays.items()}


def _none() -> RequestColumns:
    return RequestColumns([], [], [], {}, {}, {}, {}, {}, [])


def _note(
    made: RequestColumns,
    position: int,
    decisions: Sequence[RowDecision],
    arm: str,
    context: RequestContext,
) -> None:
    """Note what few requests have."""
    if decisions:
        made.decisions[position] = [(each.guard, each.row, each.action) for each in decisions]
    if arm:
        made.arms[position] = arm
    if trace := context.trace:
        made.traces[position] = trace
    if context.principal != ANYBODY:
        made.principals[position] = context.principal.name


def joined_columns(
    batches: Sequence[EventBatch],
) -> tuple[BatchColumns | None, RequestColumns | None]:
    """Return the columns for the log of all batches; None where one has none."""
    logs = [batch.log for batch in batches if batch.log is not None]
    if len(logs) != len(batches):
        return None, None
    of_batches = BatchColumns(
        b"".join([log.id for log in logs]),
        [len(batch.ids) for batch in batches],
        [batch.timestamp for batch in batches],
        [log.compute_ns for log in logs],
        [log.guards_ns for log in logs],
    )
    if len(logs) == 1:
        return of_batches, logs[0].requests
    joined = _none()
    first = 0
    for log in logs:
        one = log.requests
        joined.first_rows.extend(one.first_rows)
        joined.queue_s.extend(one.queue_s)
        joined.total_s.extend(one.total_s)
        for into, given in (
            (joined.outcomes, one.outcomes),
            (joined.arms, one.arms),
            (joined.traces, one.traces),
            (joined.principals, one.principals),
        ):
            if given:
                into.update({first + position: text for position, text in given.items()})
        if one.decisions:
            joined.decisions.update({first + at: made for at, made in one.decisions.items()})
        if one.told_elsewhere:
            joined.told_elsewhere.extend([first + at for at in one.told_elsewhere])
        first += len(one.first_rows)
    return of_batches, joined
