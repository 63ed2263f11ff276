"""Fairlearn's own figures, beside ours; None where it is not installed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from monitors.fairness.group_bounds import SMALLEST_GROUP
from serving.config import ModelConfig
from serving.reports.group_counts import by_attribute
from serving.reports.rows import ReportRows


def metric_frame(rows: ReportRows, config: ModelConfig) -> dict[str, dict[str, float]] | None:
    """Return `MetricFrame.difference()` and `.ratio()` by attribute, over the groups shown.

    Returns:
        None without fairlearn; nothing of an attribute of which fewer than two groups have enough
        labelled rows.
    """
    try:
        from fairlearn.metrics import MetricFrame
    except ImportError:
        return None
    metrics, truth, answers = _measured(rows, config)
    found: dict[str, dict[str, float]] = {}
    for groups in by_attribute(rows.groups, rows.labelled):
        few = groups.labelled_hidden
        for side in np.unique(truth) if config.label_kind == "classes" else ():
            here = rows.labelled.copy()
            here[rows.labelled] = truth == side
            few = few | (groups.sums(np.where(here, 1.0, np.nan))[2] < SMALLEST_GROUP)
        hidden = np.append(few, True)[groups.codes]
        which = rows.labelled & ~hidden
        if not metrics or len(np.unique(groups.codes[which])) < 2:
            continue
        of_labelled = which[rows.labelled]
        frame = MetricFrame(
            metrics=metrics,
            y_true=truth[of_labelled],
            y_pred=answers[of_labelled],
            sensitive_features=groups.codes[which],
        )
        told = {"difference": frame.difference(), "ratio": frame.ratio()}
        found[groups.attribute] = {
            f"{name} {kind}": float(value)
            for name in metrics
            for kind in ("difference", "ratio")
            if math.isfinite(value := told[kind][name])
        }
    return found


def _measured(
    rows: ReportRows, config: ModelConfig
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return metrics by name, and the truth and answers of labelled rows."""
    from fairlearn import metrics as of
    from sklearn.metrics import accuracy_score, mean_absolute_error

    nothing: tuple[dict[str, Any], np.ndarray, np.ndarray] = ({}, np.zeros(0), np.zeros(0))
    if rows.predicted is None or not rows.labelled.any():
        return nothing
    answers = rows.predicted[rows.labelled]
    if config.label_kind == "numbers":
        if answers.ndim != 1:
            return nothing
        return {"mean_absolute_error": mean_absolute_error}, rows.labels, answers
    classes = config.outputs[0].classes or []
    if config.fairness is None or config.fairness.favorable not in classes:
        return nothing
    at = classes.index(config.fairness.favorable)
    return (
        {
            "selection_rate": of.selection_rate,
            "true_positive_rate": of.true_positive_rate,
            "false_positive_rate": of.false_positive_rate,
            "accuracy": accuracy_score,
        },
        (rows.labels == at).astype(int),
        (answers == at).astype(int),
    )
