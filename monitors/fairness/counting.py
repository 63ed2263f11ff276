"""How rows count for the figures that groups are compared by: of classes, and of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from monitors.fairness.definitions import (
    CALIBRATION,
    DEFINITIONS,
    LABELLED_COLUMNS,
    MAE,
    MEAN_COLUMNS,
    MEAN_ERROR,
    PREDICTED_COLUMNS,
    Definition,
    Figure,
)
from monitors.fairness.error_scale import amounts
from monitors.rows import Rows

_PROPER: Final = 1e-3
"""How far scores may be from the sum of 1 and still be probabilities."""


class Counted(NamedTuple):
    """One way to count rows.

    Attributes:
        name: in what is saved.
        definitions: that are judged by it.
        columns: of its sums.
        scaled: whether rows count by a number of which nobody knows how large it may be.
        labelled: whether it counts labelled rows.
    """

    name: str
    definitions: Sequence[Definition[Figure]]
    columns: int
    scaled: bool = False
    labelled: bool = True


class Counting(Protocol):
    """What is counted of the rows of a model."""

    @property
    def ways(self) -> Sequence[Counted]:
        """All ways; the first one is of predictions."""

    @property
    def scores(self) -> bool:
        """Whether rows need scores."""

    @property
    def about(self) -> Sequence[str | int]:
        """What is counted: a state about something else is refused."""

    def of(self, way: Counted, rows: Rows, labels: np.ndarray | None) -> np.ndarray:
        """Return how rows count, see `PooledGroups.add`; of a way that is scaled their numbers.

        Args:
            way: one of `ways`.
            rows: with `predicted`.
            labels: what is taken for true, as in `Rows.labels`; None for predictions.
        """


class ClassCounting:
    """Of classes: which is predicted, which is true, and how probable it was said to be.

    Args:
        output: the name of what predicts.
        favorable: index of the favourable class.
        calibration: whether what is true is compared with its probability; needs scores.
    """

    def __init__(self, output: str, favorable: int, *, calibration: bool = False) -> None:
        self._favorable = favorable
        self.about: Sequence[str | int] = [output, favorable]
        of_labels = [each for each in DEFINITIONS if each.labelled]
        self.ways: Sequence[Counted] = [
            Counted(
                "predicted", [each for each in DEFINITIONS if not each.labelled],
                PREDICTED_COLUMNS, labelled=False,
            ),
            Counted("labelled", of_labels, LABELLED_COLUMNS),
        ]  # fmt: skip
        self.scores = calibration
        if calibration:
            self.ways = [*self.ways, Counted("calibration", [CALIBRATION], MEAN_COLUMNS)]

    def of(self, way: Counted, rows: Rows, labels: np.ndarray | None) -> np.ndarray:
        """Return how rows count, see `Counting`."""
        assert rows.predicted is not None
        selected = np.where(rows.predicted >= 0, rows.predicted == self._favorable, -1)
        if labels is None or not way.labelled:
            return selected
        true = labels == self._favorable
        if way.columns == LABELLED_COLUMNS:
            column: np.ndarray = np.where(selected < 0, -1, 2 * true + np.maximum(selected, 0))
            return column
        return amounts(probability_gaps(rows.scores, true, self._favorable), 1.0)


def probability_gaps(scores: np.ndarray | None, true: np.ndarray, favorable: int) -> np.ndarray:
    """Return what is true, 1 or 0, minus its probability, float64 [n]; NaN: there is none.

    Args:
        scores: of the classes, [n, classes]; None: there are none.
        true: whether the favourable class is the true one, bool [n].
        favorable: its index.
    """
    if scores is None:
        return np.full(len(true), np.nan)
    scores = np.asarray(scores, np.float64)
    with np.errstate(invalid="ignore"):
        proper = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) < _PROPER)
    gaps: np.ndarray = np.where(proper, true - scores[:, favorable], np.nan)
    return gaps


class NumberCounting:
    """Of one number a row: how far from the truth it is.

    Args:
        output: the name of what predicts.
    """

    ways: Sequence[Counted] = (
        Counted("predicted", (), 1, labelled=False),
        Counted("errors", (MAE, MEAN_ERROR), MEAN_COLUMNS, scaled=True),
    )
    scores = False

    def __init__(self, output: str) -> None:
        self.about: Sequence[str | int] = [output, "numbers"]

    def of(self, way: Counted, rows: Rows, labels: np.ndarray | None) -> np.ndarray:
        """Return how rows count, see `Counting`."""
        assert rows.predicted is not None
        answers = np.asarray(rows.predicted, np.float64)
        if labels is None or not way.labelled:
            return np.where(np.isnan(answers), -1, 0)
        with np.errstate(invalid="ignore"):  # an infinite answer of an infinite truth
            return answers - np.asarray(labels, np.float64)
