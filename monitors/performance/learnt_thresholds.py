"""Thresholds of performance from reference rows whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from monitors.performance.metrics.estimate import Counts, Level, Metric, Outcomes
from monitors.reference.learnt_metric import Learnt

ALPHA: Final = 0.001
"""Probability with which a version that is as good as on the reference rows is not good enough."""
FEWEST: Final = 100
"""Reference rows below which nothing is learnt."""


def learnt_thresholds(
    counts: Counts, metrics: Sequence[Metric], outcomes: Outcomes
) -> dict[str, Learnt]:
    """Return what can be learnt, by metric; nothing of metrics that have fewer than `FEWEST` rows.

    Args:
        counts: what is added up of rows.
        metrics: that are told of it.
        outcomes: of the reference rows.
    """
    sums = np.zeros(counts.columns)
    counts.add(sums, outcomes)
    level = Level(np.array([ALPHA]), np.ones(1))
    found = {}
    for metric in metrics:
        value, _, low, high, rows = (float(each[0]) for each in metric.of(sums[None], level))
        threshold = high if metric.direction == "above" else low
        if rows >= FEWEST and np.isfinite([value, threshold]).all():
            found[metric.name] = Learnt(value, threshold, int(rows))
    return found
