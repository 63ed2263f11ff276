"""Figures of a classifier or a regression from what is true, or from what is expected to be."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.estimation.predictions import LabelledPredictions, Predictions, class_scores

_SMALLEST: Final = float(np.finfo(np.float64).eps)
_ROUNDING: Final = 1e-3
"""How far the sum of a row's probabilities may be from one."""


def expected_figures(predictions: Predictions, probabilities: np.ndarray) -> dict[str, float]:
    """Return figures of a classifier from its expected confusion matrix; NaN: not defined.

    Of two classes precision, recall, F1 and AUROC are those of class 1; of more they are means
    over the classes that have them, one against the rest. Labels as probabilities of 0 and 1 give
    the figures that scikit-learn defines. The Brier score of two classes is half the sum over both.

    Source: Białek et al. (2024), arXiv:2401.08348, for the expected confusion matrix. The AUROC is
    the expected share of ordered pairs of different rows over the expected share of pairs.

    Args:
        predictions: n rows with scores.
        probabilities: that each row is of each class, [n, classes].
    """
    scores, predicted = class_scores(predictions), predictions.classes
    classes = scores.shape[1]
    matrix = np.zeros((classes, classes))
    np.add.at(matrix, predicted, probabilities)
    right, positive, true = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    which = np.arange(1, 2) if classes == 2 else np.arange(classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        recalls, precisions = right / true, right / positive
        f1 = 2 * right / (true + positive)
    areas = np.array([expected_auroc(scores[:, at], probabilities[:, at]) for at in which])
    return {
        "accuracy": float(right.sum() / len(scores)),
        "balanced_accuracy": _mean(recalls),
        "precision": _mean(precisions[which]),
        "recall": _mean(recalls[which]),
        "f1": _mean(f1[which]),
        "auroc": _mean(areas),
        **_losses(scores, probabilities),
    }


def _losses(scores: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return expected log loss and Brier score of scores that are probabilities; NaN of others."""
    proper = (scores >= 0).all() and bool((np.abs(scores.sum(axis=1) - 1) <= _ROUNDING).all())
    if not proper:
        return {"log_loss": float("nan"), "brier": float("nan")}
    shown = scores.astype(np.float64)
    logs = -np.log(np.clip(shown, _SMALLEST, 1 - _SMALLEST))
    # (s - 1)^2 where a class is the true one, and s^2 where it is not.
    squares = probabilities * (1 - 2 * shown) + shown**2
    brier = float(squares.sum(axis=1).mean())
    return {
        "log_loss": float((probabilities * logs).sum(axis=1).mean()),
        "brier": brier / 2 if scores.shape[1] == 2 else brier,
    }


def expected_auroc(scores: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected area under the ROC curve; NaN if there is one class only.

    Args:
        scores: of the class, [n].
        probabilities: that a row is of the class, [n].
    """
    _, place = np.unique(scores, return_inverse=True)
    own, others = np.bincount(place, probabilities), np.bincount(place, 1 - probabilities)
    # A row makes no pair with itself.
    itself = float((probabilities * (1 - probabilities)).sum())
    pairs = float(own.sum() * others.sum()) - itself
    ordered = float((own * (np.cumsum(others) - others / 2)).sum()) - itself / 2
    return ordered / pairs if pairs > 1e-12 else float("nan")


def realised_class_figures(rows: LabelledPredictions) -> dict[str, float]:
    """Return the figures of a classifier on labelled rows; see `expected_figures`."""
    classes = class_scores(rows.predictions).shape[1]
    return expected_figures(rows.predictions, np.eye(classes)[rows.labels.astype(np.int64)])


def realised_number_figures(rows: LabelledPredictions) -> dict[str, float]:
    """Return MAE and RMSE of a regression on labelled rows, in the unit of the labels."""
    error = np.abs(answers(rows.predictions) - rows.labels)
    return {"mae": float(error.mean()), "rmse": float(np.sqrt((error**2).mean()))}


def answers(predictions: Predictions) -> np.ndarray:
    """Return the numbers that were answered, float64 [n].

    Raises:
        ValueError: there are none.
    """
    if predictions.predicted is None:
        raise ValueError("predicted is missing; this estimate needs the number that was answered")
    return predictions.predicted.astype(np.float64)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
