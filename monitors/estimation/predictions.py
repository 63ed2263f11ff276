"""What performance is estimated from: answers with their inputs, with labels or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Rows that a model has answered. Nobody writes to the arrays.

    Attributes:
        features: inputs by name, [n] each: numbers (NaN is missing), text, bytes or objects (None
            is missing).
        scores: of the classes, floating [n, classes]; None for a regression.
        predicted: index of the predicted class, int [n], or the number that was answered, float
            [n]; None: the class with the highest score.

    Raises:
        ValueError: there are no rows, lengths differ, or a score or an answer is not finite.
    """

    features: Mapping[str, np.ndarray]
    scores: np.ndarray | None = None
    predicted: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.scores is None and self.predicted is None:
            raise ValueError("scores and predicted are both missing; give one of them")
        if self.scores is not None:
            _check_scores(self.scores)
        if not self.n:
            raise ValueError("there are no rows; give at least one")
        if self.predicted is not None:
            check_length("predicted", self.predicted, self.n)
            check_finite("predicted", self.predicted)
        for name, values in self.features.items():
            check_length(f"column {name}", values, self.n)

    @property
    def n(self) -> int:
        """How many rows there are."""
        first = self.predicted if self.scores is None else self.scores
        assert first is not None
        return len(first)

    @property
    def classes(self) -> np.ndarray:
        """Index of the predicted class, int64 [n]."""
        if self.predicted is not None:
            return self.predicted.astype(np.int64)
        assert self.scores is not None
        found: np.ndarray = self.scores.argmax(axis=1)
        return found

    def take(self, rows: np.ndarray) -> Predictions:
        """Return some of the rows, by index [m] or by mask [n]."""
        return replace(
            self,
            features={name: values[rows] for name, values in self.features.items()},
            scores=None if self.scores is None else self.scores[rows],
            predicted=None if self.predicted is None else self.predicted[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPredictions:
    """Rows that a model has answered and whose truth is known.

    Attributes:
        predictions: the rows.
        labels: index of the true class, int [n], or the true number, float [n].
        time: of each row, numbers [n] in any unit; None: rows have no order.

    Raises:
        ValueError: lengths differ, or a label or a time is not finite or of no class.
    """

    predictions: Predictions
    labels: np.ndarray
    time: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_length("labels", self.labels, self.n)
        check_finite("labels", self.labels)
        if self.time is not None:
            check_length("time", self.time, self.n)
            check_finite("time", self.time)
        if self.predictions.scores is not None:
            classes = self.predictions.scores.shape[1]
            if self.labels.dtype.kind not in "biu":
                raise ValueError("labels must be whole numbers: the indices of classes")
            if self.labels.min() < 0 or self.labels.max() >= classes:
                raise ValueError(f"labels must be from 0 to {classes - 1}, as scores have columns")

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self.predictions.n

    def take(self, rows: np.ndarray) -> LabelledPredictions:
        """Return some of the rows, by index [m] or by mask [n]."""
        return LabelledPredictions(
            predictions=self.predictions.take(rows),
            labels=self.labels[rows],
            time=None if self.time is None else self.time[rows],
        )


def class_scores(predictions: Predictions) -> np.ndarray:
    """Return the scores [n, classes].

    Raises:
        ValueError: there are none.
    """
    if predictions.scores is None:
        raise ValueError("scores are missing; this estimate needs a score for each class")
    return predictions.scores


def check_length(name: str, values: np.ndarray, n: int) -> None:
    """Raise ValueError unless there is one value a row."""
    if values.ndim != 1 or len(values) != n:
        raise ValueError(
            f"{name} has shape {list(values.shape)}; it must be [{n}], one value a row"
        )


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise ValueError unless all values are finite numbers."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers and is {values.dtype}")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{name} has NaN or infinity in {bad} rows; leave these rows out")


def _check_scores(scores: np.ndarray) -> None:
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"scores have shape {list(scores.shape)}; they must be [n, classes] "
            f"with at least two classes"
        )
    for at in range(scores.shape[1]):
        check_finite(f"the score of class {at}", scores[:, at])
