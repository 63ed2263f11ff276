"""Metrics of predicted classes, as scikit-learn defines them, from the counts of `ClassCounts`.

Of two classes F1 is that of the positive class; of more it is the mean over the classes
(`average="macro"`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.estimate import (
    Estimate,
    Level,
    Metric,
    averaged,
    bounds_of_share,
    proportion,
)

ENOUGH: Final = 20
"""Rows that a class needs before its recall is told."""


def class_metrics(counts: ClassCounts, names: Sequence[str] = ()) -> tuple[Metric, ...]:
    """Return accuracy and, where the number of classes is known, balanced accuracy and F1.

    Args:
        counts: where what is counted.
        names: of the classes, where they have some.
    """

    def of_accuracy(sums: np.ndarray, level: Level) -> Estimate:
        return proportion(sums[:, counts.hits][:, 0], sums[:, counts.rows][:, 0], level)

    def of_recalls(sums: np.ndarray, level: Level) -> Estimate:
        return _balanced_accuracy(counts, sums, level)

    def of_f1(sums: np.ndarray, level: Level) -> Estimate:
        return _f1(counts, sums, level)

    def worst(sums: np.ndarray) -> Mapping[str, Any]:
        return _worst_class(counts, sums, names)

    def why(sums: np.ndarray) -> str:
        return "no row is of the class, or was taken for it"

    accuracy = Metric(
        name="accuracy", direction="below", of=of_accuracy, why=why, more=worst, share=True
    )
    if not counts.classes:
        return (accuracy,)
    return (
        accuracy,
        Metric(
            name="balanced_accuracy", direction="below", of=of_recalls, why=why, more=worst
        ),
        Metric(name="f1", direction="below", of=of_f1, why=why, more=worst),
    )  # fmt: skip


def _balanced_accuracy(counts: ClassCounts, sums: np.ndarray, level: Level) -> Estimate:
    """Return the mean of the recalls of the classes that have rows.

    Recalls are of different rows, so their bounds are joined as those of independent figures:
    Zou and Donner (2008), "Construction of confidence limits about effect measures",
    Statistics in Medicine 27(10).
    """
    truths, right = sums[:, counts.truths], sums[:, counts.right]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = right / truths
        error = np.sqrt(recall * (1 - recall) / truths)
    there = truths > 0
    low, high = bounds_of_share(recall, truths, level)
    total = truths.sum(axis=1)
    found = averaged(recall, error, low, high, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        error, below, above = (
            np.sqrt((np.where(there, each, 0.0) ** 2).sum(axis=1)) / there.sum(axis=1)
            for each in (error, recall - low, high - recall)
        )
    return Estimate(found.value, error, found.value - below, found.value + above, total)


def _f1(counts: ClassCounts, sums: np.ndarray, level: Level) -> Estimate:
    """Return F1, a function of a share: of the rows that are or were predicted the class, both."""
    which = [counts.positive] if counts.classes == 2 else slice(None)
    right = sums[:, counts.right][:, which]
    either = (sums[:, counts.truths] + sums[:, counts.predictions])[:, which] - right
    with np.errstate(divide="ignore", invalid="ignore"):
        share = right / either
        error = 2 / (1 + share) ** 2 * np.sqrt(share * (1 - share) / either)
    low, high = (2 * bound / (1 + bound) for bound in bounds_of_share(share, either, level))
    return averaged(2 * share / (1 + share), error, low, high, sums[:, counts.rows][:, 0])


def _worst_class(
    counts: ClassCounts, sums: np.ndarray, names: Sequence[str]
) -> Mapping[str, Any]:  # fmt: skip
    truths, right = sums[counts.truths], sums[counts.right]
    enough = truths >= ENOUGH
    if enough.sum() < 2:
        return {}
    recall = np.where(enough, right / np.maximum(truths, 1), np.inf)
    at = int(recall.argmin())
    name = names[at] if at < len(names) else str(at)
    return {
        "worst_class": {
            "name": name,
            "recall": round(float(recall[at]), 4),
            "rows": int(truths[at]),
        }
    }
