"""What was true by what was answered: confusion, calibration, and errors of numbers."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from monitors.performance.metrics.estimate import Outcomes
from monitors.statistics.wilson import wilson
from serving.config import ModelConfig

MOST_CLASSES: Final = 12
BINS: Final = 10


class Bin(msgspec.Struct, frozen=True):
    """Rows with a similar answer: what they were given on average, and what was true."""

    predicted: float
    true: float
    low: float
    high: float
    rows: int


class Histogram(msgspec.Struct, frozen=True):
    """How often errors, answer minus truth, lie between edges, of which there is one more."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


def of_classes(outcomes: Outcomes, config: ModelConfig) -> dict[str, object]:
    """Return the confusion matrix and the calibration of scores, by attribute of `Performance`."""
    predicted, labels, scores = outcomes
    names = list(config.outputs[0].classes or [])
    if not names:
        most = int(max(predicted.max(initial=0), labels.max(initial=0))) + 1
        names = [str(each) for each in range(most)]
    found: dict[str, object] = {"classes": tuple(names)}
    k = len(names)
    if k <= MOST_CLASSES:
        known = (predicted >= 0) & (predicted < k) & (labels < k)
        table = np.zeros((k, k), np.int64)
        np.add.at(table, (labels[known], predicted[known]), 1)
        found["confusion"] = tuple(tuple(row) for row in table.tolist())
    if scores is None or scores.shape[1] != k:
        return found
    proper = np.isfinite(scores).all(axis=1) & (scores >= 0).all(axis=1)
    proper &= np.abs(scores.sum(axis=1) - 1) < 1e-3
    shown, truth = np.asarray(scores[proper], np.float64), labels[proper]
    if not len(truth):
        return found
    if k == 2:
        favorable = config.fairness.favorable if config.fairness else None
        at = names.index(favorable) if favorable in names else 1
        found["calibration"] = calibration(shown[:, at], truth == at)
        found["calibration_of"] = f"probability of {names[at]}"
    else:
        found["calibration"] = calibration(shown.max(axis=1), shown.argmax(axis=1) == truth)
        found["calibration_of"] = "probability of the predicted class"
    return found


def calibration(given: np.ndarray, true: np.ndarray) -> tuple[Bin, ...]:
    """Return how often something was true by how probable it was said to be.

    Args:
        given: probabilities, [n].
        true: bool [n].
    """
    place = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    bins = []
    for at in range(BINS):
        here = place == at
        rows, hits = int(here.sum()), int(true[here].sum())
        if rows:
            low, high = wilson(hits, rows, 0.95)
            bins.append(Bin(float(given[here].mean()), hits / rows, low, high, rows))
    return tuple(bins)


def of_numbers(outcomes: Outcomes) -> dict[str, object]:
    """Return errors and what was true by answer, by attribute of `Performance`."""
    predicted = np.asarray(outcomes.predicted, np.float64)
    labels = np.asarray(outcomes.labels, np.float64)
    known = np.isfinite(predicted) & np.isfinite(labels)
    predicted, labels = predicted[known], labels[known]
    if len(labels) < 2:
        return {}
    errors = predicted - labels
    counts, edges = np.histogram(errors, bins=min(30, max(5, len(errors) // 10)))
    histogram = Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
    bins = []
    for run in np.array_split(np.argsort(predicted, kind="stable"), BINS):
        if len(run) > 1:
            mean = float(labels[run].mean())
            reach = 1.96 * float(labels[run].std(ddof=1)) / math.sqrt(len(run))
            bins.append(
                Bin(float(predicted[run].mean()), mean, mean - reach, mean + reach, len(run))
            )
    return {"residuals": histogram, "calibration": tuple(bins), "calibration_of": "answer"}
