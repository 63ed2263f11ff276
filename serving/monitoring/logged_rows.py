"""From an `events` message to rows of the prediction log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from guards.decisions import ACTION_OF
from serving.channel.messages.observation import (
    FAILED,
    INPUT_PREFIX,
    OUTPUT_PREFIX,
    REFUSED,
    SCORE_PREFIX,
    BatchColumns,
    EventMeta,
    RequestColumns,
)
from serving.config.model import ModelConfig
from serving.errors import InvalidInput
from serving.log.layout import day_of
from serving.log.rows import (
    ID_BYTES,
    LoggedBatches,
    LoggedRequests,
    LogRows,
    ModelLog,
    Predicted,
)
from serving.models.consumers import LABELS, consumers
from serving.models.label_kind import label_kind
from serving.models.logged import column_names, lists
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.messages import Tensor
from serving.telemetry.outcomes import OUTCOME_OK

_ACTION_NAMES: Final = {int(action): name for name, action in ACTION_OF.items()}
_TRACE_ID: Final = slice(3, 35)
"""Of a `traceparent` of version 00."""


@dataclass(frozen=True, slots=True)
class HowLogged:
    """How a model is logged.

    Attributes:
        log: for the writer.
        bits: inputs and outputs, by the names of their tensors in messages, that are BF16.
        predicted: gives what labels are compared with; None where it takes none.
    """

    log: ModelLog
    bits: Collection[str] = ()
    predicted: Predicted | None = None


UNKNOWN: Final = HowLogged(ModelLog("none"))
"""Of a model that nobody knows: its section may forbid to log values."""


def how_logged(config: ModelConfig) -> HowLogged:
    """Return how a model with that configuration, as the directory carries it, is logged."""
    if config.log is None:
        return UNKNOWN
    sides = ((INPUT_PREFIX, config.inputs), (OUTPUT_PREFIX, config.outputs))
    return HowLogged(
        ModelLog(
            config.log.capture or "full",
            1.0 if config.log.sample is None else config.log.sample,
            column_names(config),
            lists(config),
        ),
        frozenset(
            prefix + spec.name for prefix, specs in sides for spec in specs
            if spec.datatype == "BF16"
        ),
        _predicted(config),
    )  # fmt: skip


def _predicted(config: ModelConfig) -> Predicted | None:
    """Return what makes of outputs what labels are compared with, as the judges do it."""
    kind = label_kind(config)
    if kind is None or LABELS not in consumers(config):
        return None
    output = config.outputs[0].name
    return lambda outputs: kind.predicted(outputs[output])


def logged_rows(
    meta: EventMeta, tensors: Sequence[Tensor], how: HowLogged = UNKNOWN
) -> list[LogRows]:
    """Return the rows of a message that are logged: of one day and kind each.

    Requests that another message tells of are left out. One without rows has one row, at index 0,
    without values.

    Raises:
        InvalidInput: the message's columns differ in length.
    """
    batches, requests = meta.batches, meta.requests
    if batches is None or requests is None or not meta.ids:
        return []
    _check(meta, batches, requests)
    values = how.log.capture != "none"
    inputs = _side(INPUT_PREFIX, tensors, how) if values else {}
    if meta.kind in (FAILED, REFUSED):
        inputs = {name: _as_text(array) for name, array in inputs.items()}
    whole = LogRows(
        meta.model,
        meta.upstream or meta.version,
        LoggedBatches(
            batches.ids, batches.requests, batches.times,
            [ns / 1e9 for ns in batches.compute_ns], [ns / 1e9 for ns in batches.guards_ns],
        ),
        _requests(meta, requests),
        inputs,
        _side(OUTPUT_PREFIX, tensors, how) if values else {},
        _side(SCORE_PREFIX, tensors, how) if values else {},
        sensitive=meta.sensitive if values else {},
        revision=meta.revision,
        predicted=how.predicted,
    )  # fmt: skip
    return _split(whole, requests.told_elsewhere)


def _check(meta: EventMeta, batches: BatchColumns, requests: RequestColumns) -> None:
    of_requests = (meta.rows, requests.first_rows, requests.queue_s, requests.total_s)
    of_batches = (batches.times, batches.compute_ns, batches.guards_ns)
    count, number = len(meta.ids), len(batches.requests)
    if (
        any(len(column) != count for column in of_requests)
        or any(len(column) != number for column in of_batches)
        or len(batches.ids) != number * ID_BYTES
        or sum(batches.requests) != count
    ):
        raise InvalidInput("the columns of an event differ in length")


def _requests(meta: EventMeta, requests: RequestColumns) -> LoggedRequests:
    count = len(meta.ids)
    decisions = {at: _decisions(made) for at, made in requests.decisions.items()}
    traces = {at: trace[_TRACE_ID] for at, trace in requests.traces.items()}
    return LoggedRequests(
        meta.ids,
        meta.rows,
        _spread(requests.outcomes, count, OUTCOME_OK),
        requests.queue_s,
        requests.total_s,
        _spread(decisions, count, ()),
        _spread(requests.arms, count, None) if requests.arms else (),
        (),
        _spread(traces, count, None) if traces else (),
        _spread(requests.principals, count, None) if requests.principals else (),
        requests.first_rows,
    )


def _decisions(made: Sequence[tuple[str, int, int]]) -> tuple[str, ...]:
    """Return each guard's actions on a request once, in the order of its guards."""
    return tuple(dict.fromkeys(f"{guard}:{_ACTION_NAMES[action]}" for guard, _, action in made))


def _spread(of_few: Mapping[int, Any], count: int, otherwise: Any) -> list[Any]:
    spread = [otherwise] * count
    for position, value in of_few.items():
        spread[position] = value
    return spread


def _side(prefix: str, tensors: Sequence[Tensor], how: HowLogged) -> dict[str, np.ndarray]:
    return {
        tensor.name.removeprefix(prefix): (
            bf16_to_fp32(tensor.data) if tensor.name in how.bits else tensor.data
        )
        for tensor in tensors
        if tensor.name.startswith(prefix) and (how.log.capture == "full" or tensor.data.ndim <= 2)
    }


def _as_text(array: np.ndarray) -> np.ndarray:
    """Return BYTES of requests that were not answered as text, and other values as they are.

    What they hold nobody has found good. Bytes that are no UTF-8 would make a column of bytes of
    one of text, for all who read both.
    """
    if not array.dtype.hasobject:
        return array
    texts = np.empty(array.size, np.object_)
    texts[:] = [value.decode("utf-8", "backslashreplace") for value in array.flat]
    return texts.reshape(array.shape)


def _split(whole: LogRows, told_elsewhere: Sequence[int]) -> list[LogRows]:
    """Cut by day and by whether there are rows; nearly every message is left as it is."""
    batches, sizes = whole.batches, whole.requests.rows
    days = [day_of(time) for time in (min(batches.times), max(batches.times))]
    if days[0] == days[1] and not told_elsewhere and 0 not in sizes:
        return [whole]
    left_out = set(told_elsewhere)
    of_requests = [
        day_of(time)
        for time, count in zip(batches.times, batches.requests, strict=True)
        for _ in range(count)
    ]
    groups: dict[tuple[str, bool], list[int]] = {}
    for position, (day, rows) in enumerate(zip(of_requests, sizes, strict=True)):
        if position not in left_out:
            groups.setdefault((day, rows > 0), []).append(position)
    return [
        some if has_rows else _without_rows(some)
        for (_, has_rows), positions in groups.items()
        for some in [whole.chosen(positions)]
    ]


def _without_rows(rows: LogRows) -> LogRows:
    requests = replace(rows.requests, rows=[1] * len(rows.requests.rows))
    return replace(rows, requests=requests, inputs={}, outputs={}, scores={}, sensitive={})
