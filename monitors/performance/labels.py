"""Labels as they come, and predictions whose label is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitors.rows import Rows

Truth = float | str | bool | list[float]


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
    y_true: Truth
    sensitive_features: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A prediction and its truth.

    Attributes:
        predicted: the predicted class index; -1 where the model gave no number.
        y_true: the true class index.
        sensitive_features: values that came with the label and not with the request.
    """

    predicted: int
    y_true: int
    sensitive_features: Mapping[str, str] = field(default_factory=dict)


def joined_rows(joined: Sequence[JoinedRow], timestamp: float) -> Rows:
    """Return rows whose truth became known at `timestamp` as one batch for the monitors."""
    groups: dict[str, np.ndarray] = {}
    for at, row in enumerate(joined):
        for name, value in row.sensitive_features.items():
            if name not in groups:
                groups[name] = np.full(len(joined), None, dtype=np.object_)
            groups[name][at] = value
    return Rows(
        n=len(joined),
        timestamp=timestamp,
        groups=groups,
        predicted=np.array([row.predicted for row in joined], dtype=np.int64),
        labels=np.array([row.y_true for row in joined], dtype=np.int64),
    )
