"""What is added up of rows with a class, so that every metric of classes follows from it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from monitors.performance.metrics.estimate import Outcomes
from monitors.performance.metrics.score_histogram import BINS, EDGES, probabilities
from monitors.performance.metrics.sums import add_in_order

MOST_CLASSES: Final = 20
"""Of more classes no histograms are kept: they are most of the memory."""
CONFIDENCES: Final = 10
"""Bins of equal width of the calibration error."""
_SMALLEST: Final = float(np.finfo(np.float64).eps)


class ClassCounts:
    """Where in the vector of sums is what.

    Args:
        classes: how many there are; 0: not known, then rows are right or wrong, and no more.
        positive: index of the class that metrics of two classes are about.
        scored: whether answers have scores of the classes.
    """

    def __init__(self, classes: int, positive: int, scored: bool) -> None:
        self.classes, self.positive = classes, positive
        self.scored = scored and classes >= 2
        self.watched = [positive] if classes == 2 else list(range(classes))
        if not self.scored or classes > MOST_CLASSES:
            self.watched = []
        self._size = 0
        self.rows, self.hits = self._take(1), self._take(1)
        self.truths, self.predictions, self.right = (self._take(classes) for _ in range(3))
        of_scores = 1 if self.scored else 0
        self.numbers, self.proper = self._take(of_scores), self._take(of_scores)
        self.losses = self._take(4 * of_scores)
        """Log loss, its square, the Brier score, its square."""
        self.confident, self.confident_right = (
            self._take(CONFIDENCES * of_scores) for _ in range(2)
        )
        self.confidence = self._take(CONFIDENCES * of_scores)
        self._histograms = self._take(len(self.watched) * 2 * BINS)

    def _take(self, columns: int) -> slice:
        self._size += columns
        return slice(self._size - columns, self._size)

    @property
    def columns(self) -> int:
        """Length of the vector."""
        return self._size

    @property
    def signature(self) -> list[Any]:
        """Tells it from counts of other things; JSON values."""
        return ["classes", self.classes, self.positive, self.scored]

    def histograms(self, counts: np.ndarray) -> np.ndarray:
        """Return rows by class, by whether it is the true one, and by bin: [..., k, 2, BINS]."""
        shape = (*counts.shape[:-1], len(self.watched), 2, BINS)
        return counts[..., self._histograms].reshape(shape)

    def add(self, sums: np.ndarray, outcomes: Outcomes, amount: float = 1.0) -> None:
        """Count rows; see `Counts`."""
        predicted, labels, scores = outcomes
        right = predicted == labels
        sums[self.rows] += amount * len(labels)
        sums[self.hits] += amount * right.sum()
        if not self.classes:
            return
        for where, values in (
            (self.truths, labels), (self.predictions, predicted), (self.right, labels[right])
        ):  # fmt: skip
            sums[where] += amount * _by_class(values, self.classes)
        if self.scored and scores is not None and scores.shape[1] == self.classes:
            known = np.isfinite(scores).all(axis=1) & (labels >= 0) & (labels < self.classes)
            self._add_scores(sums, np.asarray(scores[known], np.float64), labels[known], amount)

    def _add_scores(
        self, sums: np.ndarray, scores: np.ndarray, labels: np.ndarray, amount: float
    ) -> None:
        shown, proper = probabilities(scores)
        sums[self.numbers] += amount * len(labels)
        sums[self.proper] += amount * proper.sum()
        if self.watched:
            self._add_histograms(sums, shown, labels, amount)
        shown, labels = scores[proper], labels[proper]
        hits = np.zeros_like(shown)
        hits[np.arange(len(labels)), labels] = 1
        loss = -np.log(np.clip((shown * hits).sum(axis=1), _SMALLEST, 1 - _SMALLEST))
        brier = ((shown - hits) ** 2).sum(axis=1)
        if self.classes == 2:  # scikit-learn's `scale_by_half`
            brier /= 2
        add_in_order(sums, self.losses, np.stack([loss, loss**2, brier, brier**2], axis=1), amount)
        confidence = shown.max(axis=1, initial=0.0)
        place = np.minimum((confidence * CONFIDENCES).astype(np.int64), CONFIDENCES - 1)
        at = np.eye(CONFIDENCES)[place]
        right = shown.argmax(axis=1) == labels
        sums[self.confident] += amount * at.sum(axis=0)
        sums[self.confident_right] += amount * at[right].sum(axis=0)
        add_in_order(sums, self.confidence, at * confidence[:, None], amount)

    def _add_histograms(
        self, sums: np.ndarray, shown: np.ndarray, labels: np.ndarray, amount: float
    ) -> None:
        bins = np.searchsorted(EDGES, shown[:, self.watched], side="left")
        own = labels[:, None] == np.array(self.watched)
        which = (np.arange(len(self.watched)) * 2 + own) * BINS + bins
        size = len(self.watched) * 2 * BINS
        sums[self._histograms] += amount * np.bincount(which.ravel(), minlength=size)

    def state(self) -> list[Any]:
        """Return nothing: counting learns nothing."""
        return []

    def restore(self, state: list[Any]) -> None:
        """Do nothing."""


def _by_class(values: np.ndarray, classes: int) -> np.ndarray:
    known = values[(values >= 0) & (values < classes)]
    return np.bincount(known, minlength=classes)
