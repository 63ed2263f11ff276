"""What an instance says of its prediction log: metrics, and what is wrong in sentences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from serving.log.counts import LogCounts
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.events import (
    STORE_DROPPED,
    STORE_ERRORS,
    STORE_LABELS,
    STORE_LABELS_DROPPED,
    STORE_PARTS,
    STORE_ROWS,
    STORE_SAMPLED_OUT,
    STORE_WAITING,
)

TOLD_S: Final = 3600.0
"""So long after the last lost row it is told of."""
_WHY: Final = {
    "queue_full": "the disk takes rows too slowly",
    "spool_full": "the store has not taken its files for too long",
    "disk_full": "the disk is full",
    "read_only": "the disk cannot be written to",
    "io_error": "the disk fails",
    "unwritable": "they hold what no column can",
    "stopped": "the monitor was stopping",
}


class LogStatus:
    """Follows the counts of a writer.

    Args:
        series: where its metrics are kept.
        clock: seconds since the epoch.
    """

    def __init__(self, series: SeriesSet, clock: Callable[[], float]) -> None:
        self._series = series
        self._clock = clock
        self._rows = series.sum(STORE_ROWS)
        self._sampled_out = series.sum(STORE_SAMPLED_OUT)
        self._errors = series.sum(STORE_ERRORS)
        self._labels = series.sum(STORE_LABELS)
        self._labels_dropped = series.sum(STORE_LABELS_DROPPED)
        self._parts = series.sum(STORE_PARTS)
        self._waiting = series.gauge(STORE_WAITING)
        self._dropped: dict[str, SumSeries] = {}
        self._seen = 0
        self._before = 0
        self._since = self._last = float("-inf")

    def update(self, counts: LogCounts) -> None:
        """Take note of a writer's counts."""
        self._rows.value = counts.stored
        self._sampled_out.value = counts.sampled_out
        self._errors.value = counts.failures
        self._labels.value = counts.labels
        self._labels_dropped.value = counts.labels_dropped
        self._parts.value = counts.parts
        self._waiting.set(counts.waiting)
        for reason, rows in counts.dropped.items():
            if reason not in self._dropped:
                self._dropped[reason] = self._series.sum(STORE_DROPPED, reason=reason)
            self._dropped[reason].value = rows
        total = counts.dropped.total()
        if total > self._seen:
            now = self._clock()
            if now - self._last > TOLD_S:
                self._since, self._before = now, self._seen
            self._last, self._seen = now, total

    def notes(self, counts: LogCounts) -> tuple[str, ...]:
        """Return what is wrong, one sentence each."""
        self.update(counts)
        found = []
        if self._clock() - self._last <= TOLD_S:
            since = datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            why = ", ".join(_WHY.get(reason, reason) for reason in sorted(counts.dropped))
            if counts.disk_error or counts.row_error:
                why = f"{why} ({counts.disk_error or counts.row_error})"
            lost = self._seen - self._before
            found.append(f"the prediction log has lost {lost} rows since {since}: {why}")
        if counts.sensitive_dropped:
            found.append(
                f"the prediction log lacks the sensitive values of {counts.sensitive_dropped} rows"
            )
        if counts.labels_dropped:
            found.append(
                f"the prediction log lacks {counts.labels_dropped} labels, which the monitor has"
            )
        if counts.store_error:
            found.append(
                "files of the prediction log cannot be written to its store, and it is tried "
                f"again: {counts.store_error}"
            )
        return tuple(" ".join(note.split()) for note in found)
