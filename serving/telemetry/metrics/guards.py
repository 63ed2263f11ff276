"""Metrics of guards."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_VERSION, SCORE_BOUNDS, Metric, latency, total

GUARD_DECISIONS: Final = total(
    "vigil.guard.decisions",
    "row",
    "Rows a guard did not pass, by guard and action.",
    "guard",
    "action",
)
GUARD_DURATION: Final = latency("vigil.guard.duration", "Time of a guard on a batch.", "guard")
GUARD_FAILURES: Final = total(
    "vigil.guard.failures",
    "batch",
    "Batches that a guard did not judge, or not in time, by reason.",
    "guard",
    "reason",
)
GUARD_SCORE: Final = Metric(
    "vigil.guard.score",
    "histogram",
    "1",
    "Scores that a guard gave, in multiples of its threshold.",
    SCORE_BOUNDS,
    labels=(*OF_VERSION, "guard"),
)
