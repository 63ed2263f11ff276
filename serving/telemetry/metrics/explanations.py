"""Metrics of explanations."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import ERROR_BOUNDS, OF_VERSION, Metric, amount, latency

EXPLAIN_DURATION: Final = latency("vigil.explain.duration", "Time of an explanation.")
EXPLAIN_COMPLETENESS_ERROR: Final = Metric(
    "vigil.explain.completeness_error",
    "histogram",
    "1",
    "Relative completeness error of attributions.",
    ERROR_BOUNDS,
    labels=OF_VERSION,
)
EXPLAIN_QUEUE_DEPTH: Final = amount(
    "vigil.explain.queue.depth", "request", "Explanations that wait."
)
