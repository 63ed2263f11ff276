"""How good a version is on held-out rows with labels: the reference of its thresholds, and of what
is estimated of rows without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitors.estimation.fitted import FittedEstimation, fit_estimation
from monitors.estimation.predictions import Predictions
from monitors.performance.learnt_thresholds import FEWEST, learnt_thresholds
from monitors.performance.metrics.estimate import Outcomes
from monitors.reference.learnt_metric import Learnt
from serving.config import ModelConfig
from serving.models.consumers import ESTIMATION, consumers, reads_inputs
from serving.models.label_kind import label_kind
from serving.models.performance_counts import measured
from serving.models.profile.answers import answered
from serving.models.profile.columns import input_columns
from serving.models.profile.dataset import Dataset
from serving.models.repository.folder import ModelEntry

MOST_ROWS: Final = 10_000
"""Held-out rows that the model is asked for, spread over all."""
_NEEDS: Final = "performance without labels"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What is learnt of held-out rows with labels.

    Attributes:
        thresholds: by metric; empty where nothing is learnt.
        estimation: how performance is estimated without labels; None: it cannot be.
    """

    thresholds: Mapping[str, Learnt]
    estimation: FittedEstimation | None


NOTHING: Final = HeldOut({}, None)


def performance_of(entry: ModelEntry, held: Dataset, told: Callable[[str], None]) -> HeldOut:
    """Return what is learnt.

    Args:
        entry: the version.
        held: rows that the model was not trained on.
        told: is told in a sentence each what is not learnt, and why.
    """
    kind = label_kind(entry.config)
    if kind is None or held.y_true is None:
        return NOTHING
    if entry.config.descriptor.elsewhere:
        told("thresholds of performance: the model is on another server")
        return NOTHING
    known = np.flatnonzero(held.labelled)
    if len(known) < FEWEST:
        told(f"thresholds of performance: {FEWEST} held-out rows need a label, {len(known)} have")
        return NOTHING
    kept = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_ROWS)).astype(np.int64))
    rows = held.take(known[kept])
    try:
        labels = np.array([kind.read(each) for each in rows.y_true.tolist()])  # type: ignore[union-attr]
        output = answered(entry, rows.inputs, lambda done, total: None)
        first = output[entry.config.outputs[0].name]
        outcomes = Outcomes(kind.predicted(first), labels, kind.scores(first))
    except Exception as error:  # noqa: BLE001 - labels of another kind, and a model's own code
        told(
            f"thresholds of performance: the model's answers and the labels do not go together "
            f"({_reason(error)})"
        )
        return NOTHING
    counts, metrics = measured(entry.config)
    learnt = learnt_thresholds(counts, metrics, outcomes)
    return HeldOut(learnt, _estimation(entry, rows, outcomes, told))


def _estimation(
    entry: ModelEntry, rows: Dataset, outcomes: Outcomes, told: Callable[[str], None]
) -> FittedEstimation | None:
    settings = entry.config.monitors.estimation
    if settings is None or ESTIMATION not in consumers(entry.config):
        return None
    predicted, labels, scores = outcomes
    if (why := _not_estimated(entry.config, outcomes)) is not None:
        told(f"{_NEEDS}: {why}")
        return None
    columns = input_columns(rows.inputs, entry.config) if reads_inputs(entry.config) else {}
    known = np.isfinite(predicted.astype(np.float64)) & np.isfinite(labels.astype(np.float64))
    if scores is not None:
        known &= np.isfinite(scores).all(axis=1) & (predicted >= 0)
        known &= (labels >= 0) & (labels < scores.shape[1])
    if not known.any():
        told(f"{_NEEDS}: no held-out row has an answer that is a finite number")
        return None
    try:
        return fit_estimation(
            {name: values[known] for name, values in columns.items()},
            Predictions(
                features={},
                scores=None if scores is None else scores[known].astype(np.float64),
                predicted=predicted[known],
            ),
            labels[known],
            None if rows.time is None else rows.time[known],
            settings.window,
        )
    except ValueError as error:
        told(f"{_NEEDS}: {_reason(error)}")
        return None


def _not_estimated(config: ModelConfig, outcomes: Outcomes) -> str | None:
    if config.label_kind == "classes" and outcomes.scores is None:
        return "it needs a score for each class, and the model answers none"
    return "it is of one number a row" if outcomes.predicted.ndim > 1 else None


def _reason(error: Exception) -> str:
    said = str(error).partition("\n")[0][:200]
    return said if type(error) is ValueError else f"{type(error).__name__}: {said}"
