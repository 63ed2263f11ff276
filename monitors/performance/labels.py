"""Labels as they come, and predictions whose label is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitors.performance.group_values import Groups
from monitors.rows import Corrections, Rows

Truth = float | str | bool | list[float]
"""A label as it comes."""

Value = int | float | list[float]
"""A label as it is compared: a class index, a number, or several."""


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

    def older_than(self, known_at: float | None) -> bool:
        """Whether it became known before another one, as far as both tell."""
        return self.timestamp is not None and known_at is not None and self.timestamp < known_at


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """A prediction as somebody else has kept it.

    Attributes:
        key: the id that the request had, and the row inside that request.
        timestamp: seconds since the epoch when it was made.
        predicted: the class index, number or numbers.
        groups: sensitive values that came with the request.
        scores: of the classes, where it has some.
    """

    key: tuple[str, int]
    timestamp: float
    predicted: Value
    groups: Groups = field(default_factory=dict)
    scores: list[float] | None = None


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A prediction and its truth.

    Attributes:
        predicted: the predicted class index, -1 where the model gave no number; of other kinds of
            labels the number or numbers, None where one is none.
        y_true: the true class index, number or numbers.
        sensitive_features: values that came with the label and not with the request.
        position: how many rows of the version had a label before.
        delay_s: seconds from the prediction to the label; 0 where the label was first.
        key: the id of the request, and the row inside it.
        came: seconds since the epoch when the label came.
        groups: sensitive values that came with the request.
        scores: of the classes, where it has some.
    """

    predicted: Value | None
    y_true: Value
    sensitive_features: Mapping[str, str] = field(default_factory=dict)
    position: int = field(default=-1, compare=False)
    delay_s: float = field(default=0.0, compare=False)
    key: tuple[str, int] = field(default=("", 0), compare=False)
    came: float = field(default=0.0, compare=False)
    groups: Groups = field(default_factory=dict, compare=False)
    scores: list[float] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CorrectedRow:
    """A prediction whose truth is another one than was told before.

    Attributes:
        predicted: as in `JoinedRow`.
        before: what was taken for true.
        y_true: as in `JoinedRow`.
        forgotten, learned: sensitive values that labels have brought: those of earlier labels, and
            those of all labels now.
        position: how many rows of the version had a label before this row had its first; -1 where
            that is not known.
        key: as in `JoinedRow`.
        came: seconds since the epoch when the label came; of two labels of a row the second has
            the later time, whatever the clock says.
        groups, scores: as in `JoinedRow`.
    """

    predicted: Value | None
    before: Value
    y_true: Value
    forgotten: Mapping[str, str] = field(default_factory=dict)
    learned: Mapping[str, str] = field(default_factory=dict)
    position: int = field(default=-1, compare=False)
    key: tuple[str, int] = field(default=("", 0), compare=False)
    came: float = field(default=0.0, compare=False)
    groups: Groups = field(default_factory=dict, compare=False)
    scores: list[float] | None = field(default=None, compare=False)


def joined_rows(joined: Sequence[JoinedRow], timestamp: float) -> Rows:
    """Return rows whose truth became known at `timestamp` as one batch for the monitors."""
    return Rows(
        n=len(joined),
        timestamp=timestamp,
        groups=_columns([row.sensitive_features for row in joined]),
        request_groups=_columns([row.groups for row in joined]),
        scores=_scores([row.scores for row in joined]),
        predicted=_values([_predicted(row) for row in joined]),
        labels=_values([row.y_true for row in joined]),
        positions=np.array([row.position for row in joined], dtype=np.int64),
        answered=np.array([row.came - row.delay_s for row in joined], dtype=np.float64),
    )


def corrections(corrected: Sequence[CorrectedRow], timestamp: float) -> Corrections:
    """Return rows whose truth was replaced at `timestamp` as one batch for the monitors."""
    joined = [
        JoinedRow(
            row.predicted, row.y_true, row.learned, row.position,
            groups=row.groups, scores=row.scores,
        )
        for row in corrected
    ]  # fmt: skip
    rows = joined_rows(joined, timestamp)
    before = _columns([row.forgotten for row in corrected])
    nothing = np.full(len(corrected), None, dtype=np.object_)
    return Corrections(
        rows=rows,
        labels=_values([row.before for row in corrected]),
        groups={name: before.get(name, nothing) for name in rows.groups},
    )


def _predicted(row: JoinedRow) -> Value:
    if row.predicted is not None:
        return row.predicted
    return [math.nan] * len(row.y_true) if isinstance(row.y_true, list) else math.nan


def _values(values: Sequence[Value]) -> np.ndarray:
    classes = all(isinstance(value, int) for value in values)
    return np.array(values, dtype=np.int64 if classes else np.float64)


def _scores(rows: Sequence[list[float] | None]) -> np.ndarray | None:
    """Return scores as [n, classes], NaN where a row has none; None: none has."""
    classes = max((len(scores) for scores in rows if scores is not None), default=0)
    if not classes:
        return None
    nothing = [math.nan] * classes
    whole = [scores if scores and len(scores) == classes else nothing for scores in rows]
    return np.array(whole, dtype=np.float64)


def _columns(values: Sequence[Groups]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for at, of_row in enumerate(values):
        for name, value in of_row.items():
            if name not in columns:
                columns[name] = np.full(len(values), None, dtype=np.object_)
            columns[name][at] = value
    return columns
