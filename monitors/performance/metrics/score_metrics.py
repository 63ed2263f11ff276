"""Metrics of the scores of classes, as scikit-learn defines them, from `ClassCounts`.

Log loss, the Brier score and the calibration error are of rows whose scores are probabilities.
AUROC and average precision are of all rows with scores; of more than two classes they are means
over the classes, one against the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from scipy.special import ndtri

from monitors.performance.metrics.class_counts import MOST_CLASSES, ClassCounts
from monitors.performance.metrics.estimate import (
    Estimate,
    Level,
    Metric,
    averaged,
    bounds_of_share,
    mean,
)
from monitors.performance.metrics.score_histogram import (
    auroc,
    auroc_error,
    average_precision,
    average_precision_error,
)

NO_SCORES: Final = "no row has a score for each class that is a number"
NO_PROBABILITIES: Final = "most scores are no probabilities: below 0, or their sum is not 1"
ONE_CLASS: Final = "all rows are of one class"
MANY_CLASSES: Final = f"scores are kept of at most {MOST_CLASSES} classes"


def score_metrics(counts: ClassCounts) -> tuple[Metric, ...]:
    """Return all of them; none where answers have no scores of classes.

    Args:
        counts: where what is counted.
    """
    if not counts.scored:
        return ()
    first = counts.losses.start
    return (
        _ranking("auroc", counts, _auroc, auroc_error),
        _ranking("auprc", counts, _average_precision, average_precision_error),
        _loss("log_loss", counts, first),
        _loss("brier", counts, first + 2),
        _calibration(counts),
    )


# -- how scores rank rows ---------------------------------------------------------------


def _ranking(
    name: str,
    counts: ClassCounts,
    of: Callable[[np.ndarray, Level], Estimate],
    error: Callable[[np.ndarray], np.ndarray],
) -> Metric:
    def estimate(sums: np.ndarray, level: Level) -> Estimate:
        return of(counts.histograms(sums), level)

    def why(sums: np.ndarray) -> str:
        if not counts.watched:
            return MANY_CLASSES
        return NO_SCORES if not sums[counts.numbers].sum() else ONE_CLASS

    def more(sums: np.ndarray) -> Mapping[str, Any]:
        histograms = counts.histograms(sums)
        errors = error(histograms)
        known = errors[~np.isnan(errors)]
        found: dict[str, Any] = {}
        if len(known):
            found["binning_error"] = round(float(known.mean()), 6)
        if (histograms.sum(axis=-2) > 0).sum(axis=-1).max(initial=0) == 1:
            found["note"] = "all scores are alike"
        return found

    return Metric(name=name, direction="below", of=estimate, why=why, more=more)


def _auroc(histograms: np.ndarray, level: Level) -> Estimate:
    area, error, worth = auroc(histograms)
    low, high = bounds_of_share(area, worth, level)
    return averaged(area, error, low, high, _rows(histograms))


def _average_precision(histograms: np.ndarray, level: Level) -> Estimate:
    """Bounds are those of a share of as many rows as are of the class.

    Source: Boyd, Eng and Page (2013), "Area under the precision-recall curve: point estimates and
    confidence intervals", ECML PKDD.
    """
    area = average_precision(histograms)
    own = histograms[..., 1, :].sum(axis=-1)
    low, high = bounds_of_share(area, own, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(area * (1 - area) / own)
    return averaged(area, error, low, high, _rows(histograms))


def _rows(histograms: np.ndarray) -> np.ndarray:
    """Rows with scores: every class has all of them in its histogram."""
    if not histograms.shape[-3]:
        return np.zeros(histograms.shape[0])
    rows: np.ndarray = histograms[:, 0].sum(axis=(-1, -2))
    return rows


# -- how far scores are from the truth --------------------------------------------------


def _why_no_loss(counts: ClassCounts, sums: np.ndarray) -> str:
    if not sums[counts.numbers].sum():
        return NO_SCORES
    few = sums[counts.proper].sum() > sums[counts.numbers].sum() / 2
    return "too few rows have scores" if few else NO_PROBABILITIES


def _proper(counts: ClassCounts, sums: np.ndarray) -> np.ndarray:
    """Return rows that are probabilities; 0 where most are none, and some by chance."""
    proper, scored = sums[..., counts.proper][..., 0], sums[..., counts.numbers][..., 0]
    return np.where(2 * proper > scored, proper, 0.0)


def _loss(name: str, counts: ClassCounts, at: int) -> Metric:
    def estimate(sums: np.ndarray, level: Level) -> Estimate:
        return mean(sums[:, at], sums[:, at + 1], _proper(counts, sums), level)

    def why(sums: np.ndarray) -> str:
        return _why_no_loss(counts, sums)

    return Metric(name=name, direction="above", of=estimate, why=why)


def _calibration(counts: ClassCounts) -> Metric:
    """The expected calibration error of the predicted class over 10 bins of equal width.

    Source: Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks",
    arXiv:1706.04599. Of few rows it is too large by chance, by up to `bias_at_most`; the lower
    bound takes that into account.
    """

    def parts(sums: np.ndarray) -> tuple[np.ndarray, ...]:
        rows, right = sums[..., counts.confident], sums[..., counts.confident_right]
        total = _proper(counts, sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.abs(sums[..., counts.confidence] - right).sum(axis=-1) / total
            # A bin that is always right so far is not known to be.
            share = (right + 0.5) / (rows + 1)
            deviation = np.sqrt(rows * share * (1 - share))
            error = np.sqrt((deviation**2).sum(axis=-1)) / total
            bias = np.sqrt(2 / np.pi) * deviation.sum(axis=-1) / total
        return np.where(total > 0, value, np.nan), error, bias, total

    def estimate(sums: np.ndarray, level: Level) -> Estimate:
        value, error, bias, total = parts(sums)
        reach = -ndtri(level.alpha) * error * np.sqrt(level.factor)
        low = np.maximum(value - bias * np.sqrt(level.factor) - reach, 0.0)
        return Estimate(value, error, low, np.minimum(value + reach, 1.0), total)

    def why(sums: np.ndarray) -> str:
        return _why_no_loss(counts, sums)

    def more(sums: np.ndarray) -> Mapping[str, Any]:
        bias = float(parts(sums)[2])
        return {"bias_at_most": round(bias, 4)} if np.isfinite(bias) else {}

    return Metric(name="calibration_error", direction="above", of=estimate, why=why, more=more)
