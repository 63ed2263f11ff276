"""What the gateway tells the monitors: batches of predictions, and labels that come later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class PredictionEvent:
    """One batch that was answered; struct of arrays, first axis is the row.

    Attributes:
        model_name: as in the registry.
        model_version: the version that answered.
        timestamp: seconds since the epoch when the batch was answered.
        request_ids: the client's id of each row's request, length n.
        row_index: index of each row inside its request, int64 [n].
        inputs: input arrays by name, [n, ...]; BYTES are object arrays of bytes.
        outputs: output arrays by name, [n, ...].
        sensitive_features: values as text by attribute name, object arrays [n]; None where a
            request gave none. They never leave the monitors except as counts.
        gateway: which gateway sent it.
        sequence: counts that gateway's events from 0, so that gaps can be seen.
    """

    model_name: str
    model_version: str
    timestamp: float
    request_ids: list[str]
    row_index: np.ndarray
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    sensitive_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    gateway: str = ""
    sequence: int = 0

    @property
    def rows(self) -> int:
        """Number of rows n."""
        return len(self.request_ids)


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """The truth about one row of one earlier request.

    Attributes:
        request_id: the id that the request had.
        index: the row inside that request.
        y_true: the true class (name or index) or value.
        sensitive_features: values as text by attribute name, when they come with the label.
        timestamp: seconds since the epoch at which the truth became known, if told.
    """

    request_id: str
    index: int
    y_true: float | str | bool | list[float]
    sensitive_features: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None
