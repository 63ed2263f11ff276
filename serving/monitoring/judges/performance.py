"""Performance of a model version on the rows whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.estimate import Counts, Metric
from monitors.performance.metrics.number_metrics import NumberCounts
from monitors.performance.metrics.ranking_metrics import RankingCounts
from monitors.performance.metrics.score_metrics import score_metrics
from serving.config import ModelConfig
from serving.config.performance_thresholds import scored, thresholds
from serving.models.consumers import PERFORMANCE
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.budgets import rate
from serving.monitoring.judges.descriptor import Built

WINDOW: Final = 200
"""Labelled rows per window: few, because labels are rarer than predictions."""
_TITLES: Final = {"numbers": "error", "ranking": "ranking"}


class _Measured(NamedTuple):
    counts: Counts
    metrics: Sequence[Metric]


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.performance`: what it measures depends on the labels."""
    config, kind = entry.config, entry.config.label_kind
    assert config.monitors.performance is not None
    measured = _measured(config)
    limits = thresholds(config.monitors.performance, kind)
    monitor = LabelledPerformanceMonitor(
        measured.counts, measured.metrics, limits, WINDOW, rate(config, PERFORMANCE)
    )
    return Built(monitor, title=_TITLES.get(kind or "", ""))


def _measured(config: ModelConfig) -> _Measured:
    """Return what is counted of labelled rows, and which metrics follow."""
    assert config.monitors.performance is not None
    output = config.outputs[0]
    if config.label_kind == "numbers":
        width = max((output.shape[1:] or [1])[0], 1)
        numbers = NumberCounts(width, config.monitors.performance.quantile)
        return _Measured(numbers, numbers.metrics)
    if config.label_kind == "ranking":
        rankings = RankingCounts()
        return _Measured(rankings, rankings.metrics)
    names = output.classes or []
    known = len(names) or (2 if output.datatype == "BOOL" else max((output.shape[1:] or [0])[0], 0))
    favorable = config.fairness.favorable if config.fairness else None
    positive = names.index(favorable) if favorable in names else max(known - 1, 0)
    classes = ClassCounts(known, positive, scored(output))
    return _Measured(classes, (*class_metrics(classes, names), *score_metrics(classes)))
