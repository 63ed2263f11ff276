"""What is counted of a model's labelled rows, and which metrics follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.estimate import Counts, Metric
from monitors.performance.metrics.number_metrics import NumberCounts
from monitors.performance.metrics.ranking_metrics import RankingCounts
from monitors.performance.metrics.score_metrics import score_metrics
from serving.config import ModelConfig
from serving.config.performance_thresholds import scored


class Measured(NamedTuple):
    """Counts, and the metrics that follow from them."""

    counts: Counts
    metrics: Sequence[Metric]


def measured(config: ModelConfig) -> Measured:
    """Return what is measured of a model that takes labels."""
    output = config.outputs[0]
    if config.label_kind == "numbers":
        performance = config.monitors.performance
        width = max((output.shape[1:] or [1])[0], 1)
        numbers = NumberCounts(width, performance.quantile if performance else None)
        return Measured(numbers, numbers.metrics)
    if config.label_kind == "ranking":
        rankings = RankingCounts()
        return Measured(rankings, rankings.metrics)
    names = output.classes or []
    known = len(names) or (2 if output.datatype == "BOOL" else max((output.shape[1:] or [0])[0], 0))
    favorable = config.fairness.favorable if config.fairness else None
    positive = names.index(favorable) if favorable in names else max(known - 1, 0)
    classes = ClassCounts(known, positive, scored(output))
    return Measured(classes, (*class_metrics(classes, names), *score_metrics(classes)))
