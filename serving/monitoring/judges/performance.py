"""Performance of a model version on the rows whose truth is known."""

from __future__ import annotations

from typing import Final

from monitors.performance.accuracy import AccuracyMonitor
from monitors.performance.mean_score import MeanScoreMonitor
from monitors.performance.ranking import RANKING_SCORES
from monitors.performance.regression_error import REGRESSION_ERRORS
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built

WINDOW: Final = 200
"""Labelled rows per verdict: few, because labels are rarer than predictions."""


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.performance`: what it measures depends on the labels."""
    config = entry.config.monitors.performance
    assert config is not None
    kind = entry.config.label_kind
    if kind == "numbers":
        judged = "rmse" if config.metric == "rmse" else "mae"
        monitor = MeanScoreMonitor(REGRESSION_ERRORS, judged, config.max, "above", WINDOW)
        return Built(monitor, title="error")
    if kind == "ranking":
        monitor = MeanScoreMonitor(RANKING_SCORES, config.metric, config.min, "below", WINDOW)
        return Built(monitor, title="ranking")
    return Built(AccuracyMonitor(config.min, WINDOW))
