"""Metrics of labels: what became of them, when they came, and for whom."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_VERSION, Metric, total, verdict

DELAY_BOUNDS_S: Final = (
    1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 3 * 86400.0, 7 * 86400.0, 14 * 86400.0,
    30 * 86400.0,
)  # fmt: skip
"""Upper bounds of delay buckets in seconds, one second to thirty days."""

OUTCOMES: Final = ("accepted", "duplicate", "unknown", "late")
"""What became of a label, as a push is answered."""

LABELS_RECEIVED: Final = total(
    "vigil.labels.received", "label", "Pushed labels, by what became of them.", "outcome"
)
LABELS_CORRECTED: Final = total(
    "vigil.labels.corrected", "label", "Accepted labels that replaced another one."
)
LABELS_EXPIRED: Final = total(
    "vigil.labels.expired",
    "label",
    "Labels that waited for a prediction until their time was over.",
)
LABELS_COVERAGE: Final = verdict(
    "vigil.labels.coverage", "1", "Share of predictions that have a label."
)
LABELS_COVERAGE_BY_GROUP: Final = verdict(
    "vigil.labels.coverage.by_group",
    "1",
    "Share of a group's predictions that have a label, since the monitor was started.",
    "attribute",
    "group",
)
LABELS_DELAY: Final = Metric(
    "vigil.labels.delay",
    "histogram",
    "s",
    "Time from a prediction to its first label.",
    DELAY_BOUNDS_S,
    labels=OF_VERSION,
)
LABELS_DELAY_BY_GROUP: Final = Metric(
    "vigil.labels.delay.by_group",
    "histogram",
    "s",
    "Time from a prediction to its first label, by group.",
    DELAY_BOUNDS_S,
    labels=(*OF_VERSION, "attribute", "group"),
)
