"""How good a version is on held-out rows with labels: the reference of its thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from monitors.performance.learnt_thresholds import FEWEST, learnt_thresholds
from monitors.performance.metrics.estimate import Outcomes
from monitors.reference.learnt_metric import Learnt
from serving.models.label_kind import label_kind
from serving.models.performance_counts import measured
from serving.models.profile.answers import answered
from serving.models.profile.dataset import Dataset
from serving.models.repository.folder import ModelEntry

MOST_ROWS: Final = 10_000
"""Held-out rows that the model is asked for, spread over all."""


def performance_of(
    entry: ModelEntry, held: Dataset, told: Callable[[str], None]
) -> dict[str, Learnt]:
    """Return what is learnt of each metric; empty where nothing is.

    Args:
        entry: the version.
        held: rows that the model was not trained on.
        told: is told in a sentence why nothing is learnt.
    """
    kind = label_kind(entry.config)
    if kind is None or held.y_true is None:
        return {}
    if entry.config.descriptor.elsewhere:
        told("thresholds of performance: the model is on another server")
        return {}
    known = np.flatnonzero(held.labelled)
    if len(known) < FEWEST:
        told(f"thresholds of performance: {FEWEST} held-out rows need a label, {len(known)} have")
        return {}
    kept = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_ROWS)).astype(np.int64))
    rows = held.take(known[kept])
    try:
        labels = np.array([kind.read(each) for each in rows.y_true.tolist()])  # type: ignore[union-attr]
        output = answered(entry, rows.inputs, lambda done, total: None)
        first = output[entry.config.outputs[0].name]
        predicted, scores = kind.predicted(first), kind.scores(first)
    except Exception as error:  # noqa: BLE001 - labels of another kind, and a model's own code
        reason = str(error).partition("\n")[0][:200]
        told(
            f"thresholds of performance: the model's answers and the labels do not go together "
            f"({type(error).__name__}: {reason})"
        )
        return {}
    counts, metrics = measured(entry.config)
    return learnt_thresholds(counts, metrics, Outcomes(predicted, labels, scores))
