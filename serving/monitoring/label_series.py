"""What becomes of labels, as metrics; attributes are outcomes and groups of closed sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitors.performance.label_join import LabelCounts
from monitors.performance.labels import JoinedRow
from serving.monitoring.group_coverage import GroupCoverage
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.labels import (
    LABELS_CORRECTED,
    LABELS_DELAY,
    LABELS_DELAY_BY_GROUP,
    LABELS_EXPIRED,
    LABELS_RECEIVED,
    OUTCOMES,
)


class LabelSeries:
    """The counters of one model version's labels, from zero on.

    Args:
        series: where they are kept.
        model, version: attributes of all of them.
    """

    def __init__(self, series: SeriesSet, model: str, version: str) -> None:
        self._series = series
        self._base = {"model": model, "version": version}
        self._received = [
            series.sum(LABELS_RECEIVED, outcome=outcome, **self._base) for outcome in OUTCOMES
        ]
        self._corrected = series.sum(LABELS_CORRECTED, **self._base)
        self._expired = series.sum(LABELS_EXPIRED, **self._base)
        self._delay = series.histogram(LABELS_DELAY, **self._base)

    def received(self, counts: LabelCounts) -> None:
        """Count pushed labels."""
        for series, outcome in zip(self._received, OUTCOMES, strict=True):
            series.add(getattr(counts, outcome))
        self._corrected.add(counts.replaced)

    def expired(self, labels: int) -> None:
        """Count labels whose prediction never came."""
        self._expired.add(labels)

    def joined(self, rows: Sequence[JoinedRow], groups: GroupCoverage) -> None:
        """Count the delays of labels, and rows of groups that have one now."""
        self._delay.record_many(np.array([row.delay_s for row in rows]))
        for row in rows:
            for count in groups.of(row.groups):
                count.labelled += 1
                if count.shown:
                    self._series.histogram(
                        LABELS_DELAY_BY_GROUP,
                        attribute=count.attribute,
                        group=count.group,
                        **self._base,
                    ).record(row.delay_s)
