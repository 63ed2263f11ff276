"""Metrics of requests and batches, and why rows are given up."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import BATCH_BOUNDS, OF_VERSION, Metric, amount, latency, total

INFERENCE_DURATION: Final = latency(
    "vigil.inference.duration", "Time from a request's arrival to its answer.", "outcome"
)
INFERENCE_QUEUE_DURATION: Final = latency(
    "vigil.inference.queue.duration", "Time a request waited for a slot."
)
INFERENCE_COMPUTE_DURATION: Final = latency(
    "vigil.inference.compute.duration", "Time of a batch in the model."
)
INFERENCE_REQUESTS: Final = total(
    "vigil.inference.requests", "request", "Requests answered, by outcome.", "outcome"
)
INFERENCE_ROWS: Final = total("vigil.inference.rows", "row", "Rows predicted.")
BATCH_ROWS: Final = Metric(
    "vigil.batch.rows", "histogram", "{row}", "Rows per batch.", BATCH_BOUNDS, labels=OF_VERSION
)
QUEUE_ROWS: Final = amount("vigil.queue.rows", "row", "Rows that wait for a slot.")
QUEUE_ROWS_ABANDONED: Final = total(
    "vigil.queue.rows.abandoned",
    "row",
    "Rows that waited and were never computed because nobody wanted the answer, by reason.",
    "reason",
)
BODY_HELD: Final = Metric(
    "vigil.body.held",
    "gauge",
    "By",
    "Bytes of request bodies that gateways hold, what they unpack to included.",
)
BODY_REFUSED: Final = total(
    "vigil.body.refused",
    "request",
    "Requests refused because gateways held as many bytes of bodies as they may.",
    of=(),
)
RETRIES: Final = total("vigil.retries", "batch", "Batches sent to another replica.")
QUERIES_OF_DEATH: Final = total(
    "vigil.queries_of_death",
    "request",
    "Requests answered 500 because computing them ends replicas.",
)
REJECTED: Final = total("vigil.rejected", "request", "Requests refused, by reason.", "reason")
SLO_TOTAL: Final = total(
    "vigil.slo.total", "request", "Requests that the model's objectives concern."
)
SLO_GOOD: Final = total(
    "vigil.slo.good", "request", "Those of them that were answered, and in time."
)
SLO_OBJECTIVE: Final = Metric(
    "vigil.slo.objective",
    "gauge",
    "1",
    "Share of them that is to be good, as `slo.availability` says.",
    merge="last",
    labels=OF_VERSION,
)

ABANDONED_DISCONNECT: Final = "disconnect"
"""The client went away."""
ABANDONED_DEADLINE: Final = "deadline"
"""The deadline passed."""
ABANDONED_FAILED: Final = "failed"
"""Another part of the same request failed."""
ABANDONED_REASONS: Final = (ABANDONED_DISCONNECT, ABANDONED_DEADLINE, ABANDONED_FAILED)
