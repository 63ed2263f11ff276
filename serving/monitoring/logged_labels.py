"""From labels that have met their predictions to rows of the prediction log."""

from __future__ import annotations

from collections.abc import Sequence

from monitors.performance.labels import CorrectedRow, JoinedRow
from serving.log.label_rows import LabelRows
from serving.log.layout import day_of
from serving.monitoring.model_monitors import LearnedLabels


def logged_labels(learned: LearnedLabels) -> list[LabelRows]:
    """Return labels as rows of one day each; nearly always it is one."""
    rows = learned.rows
    times = [row.came for row in rows]
    if day_of(min(times)) == day_of(max(times)):
        return [_label_rows(learned, rows, times)]
    days: dict[str, list[JoinedRow | CorrectedRow]] = {}
    for row in rows:
        days.setdefault(day_of(row.came), []).append(row)
    return [_label_rows(learned, some, [row.came for row in some]) for some in days.values()]


def _label_rows(
    learned: LearnedLabels, rows: Sequence[JoinedRow | CorrectedRow], times: list[float]
) -> LabelRows:
    return LabelRows(
        learned.model,
        learned.version,
        [row.key[0] for row in rows],
        [row.key[1] for row in rows],
        times,
        [row.y_true for row in rows],
    )
