"""What is logged: the rows of one batch, as struct of arrays, and how a model is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.config.log import Capture


@dataclass(frozen=True, slots=True)
class LoggedRequests:
    """The r requests of a batch; every list has length r, or is empty where nobody knows.

    Attributes:
        client_ids: the clients' ids.
        rows: how many rows each has.
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


@dataclass(frozen=True, slots=True)
class LogRows:
    """The n rows of one batch; row i has the id (`id`, i).

    Attributes:
        id: 16 bytes, a UUIDv7.
        model, version, revision: what answered.
        time: seconds since the epoch.
        requests: whose rows they are; their `rows` add up to n.
        inputs, outputs: arrays [n, ...] by tensor; BYTES are object arrays of bytes. Requests
            without outputs, or without readable inputs, come in a `LogRows` of their own.
        scores: of guards, float arrays [n] by `<guard>`.
        sensitive: values by name, [n, ...] arrays or one text or None per row.
        compute_s, guards_s: seconds in the model and its guards.
    """

    id: bytes
    model: str
    version: str
    time: float
    requests: LoggedRequests
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    sensitive: Mapping[str, np.ndarray | Sequence[str | None]] = field(default_factory=dict)
    revision: str = ""
    compute_s: float | None = None
    guards_s: float | None = None

    @property
    def count(self) -> int:
        """Number of rows n."""
        return sum(self.requests.rows)

    @property
    def nbytes(self) -> int:
        """About how many bytes it holds."""
        arrays = (*self.inputs.values(), *self.outputs.values(), *self.scores.values())
        fixed = 200 * len(self.requests.client_ids) + 16 * len(self.sensitive) * self.count
        return fixed + sum(_nbytes(array) for array in arrays)


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
    """

    capture: Capture = "full"
    sample: float = 1.0
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
