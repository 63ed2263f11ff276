"""From `events` and `labels` messages to the monitors' own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitors.performance.labels import LabelEvent
from serving.channel.messages.observation import INPUT_PREFIX, OUTPUT_PREFIX, EventMeta, Label
from serving.errors import InvalidInput
from serving.protocol.messages import Tensor


@dataclass(frozen=True, slots=True)
class PredictionEvent:
    """What one message tells was answered; struct of arrays, first axis is the row.

    Attributes:
        timestamp: seconds since the epoch when the last of its batches was answered.
        request_ids: the client's id of each row's request, length n.
        row_index: index of each row inside its request, int64 [n].
        inputs: input arrays by name, [n, ...]; BYTES are object arrays of bytes.
        outputs: output arrays by name, [n, ...]; BF16 as its bits.
        sensitive_features: values as text by attribute name, object arrays [n]; None where a
            request gave none. They never leave the monitors except as counts.
    """

    timestamp: float
    request_ids: list[str]
    row_index: np.ndarray
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    sensitive_features: Mapping[str, np.ndarray]

    @property
    def rows(self) -> int:
        """Number of rows n."""
        return len(self.request_ids)


def read_event(meta: EventMeta, tensors: Sequence[Tensor]) -> PredictionEvent:
    """Return the event of an `events` message; arrays are views on the message.

    Raises:
        InvalidInput: columns differ in length.
    """
    inputs, outputs = _columns(INPUT_PREFIX, tensors), _columns(OUTPUT_PREFIX, tensors)
    counts = np.array(meta.rows, dtype=np.int64)
    total = int(counts.sum())
    lengths = {len(array) for array in (*inputs.values(), *outputs.values())}
    lengths |= {len(values) for values in meta.sensitive.values()}
    if len(meta.ids) != len(counts) or lengths != {total}:
        raise InvalidInput("the columns of an event differ in length")
    idents, index = meta.ids, np.zeros(total, dtype=np.int64)
    if total != len(counts) or 0 in meta.rows:  # else, as mostly, each request is a row
        idents = [
            ident for ident, rows in zip(meta.ids, meta.rows, strict=True) for _ in range(rows)
        ]
        index = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    return PredictionEvent(
        timestamp=meta.timestamp,
        request_ids=idents,
        row_index=index,
        inputs=inputs,
        outputs=outputs,
        sensitive_features={name: _objects(values) for name, values in meta.sensitive.items()},
    )


def read_label(label: Label) -> LabelEvent:
    """Return the label of a `labels` message."""
    return LabelEvent(label.request_id, label.index, label.y_true, label.sensitive, label.timestamp)


def _columns(prefix: str, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    return {
        tensor.name.removeprefix(prefix): tensor.data
        for tensor in tensors
        if tensor.name.startswith(prefix)
    }


def _objects(values: list[str | None]) -> np.ndarray:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array
