"""Metrics of served versions and their replicas, and why a version could not be loaded."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_VERSION, Metric, amount, total

REPLICA_SLOTS_USED: Final = amount(
    "vigil.replica.slots.used", "slot", "Batch slots of replicas in use."
)
REPLICA_SLOTS_TOTAL: Final = amount("vigil.replica.slots.total", "slot", "Batch slots of replicas.")
REPLICA_RESTARTS: Final = total(
    "vigil.replica.restarts", "restart", "Replicas that came back after they died."
)
MODEL_READY: Final = Metric(
    "vigil.model.ready",
    "gauge",
    "{boolean}",
    "1 while every gateway can answer with the version, else 0.",
    merge="last",
    labels=(*OF_VERSION, "wanted"),
)
MODEL_LOAD_FAILURES: Final = total(
    "vigil.model.load.failures",
    "failure",
    "Times that a version could not be loaded, by reason.",
    "reason",
    of=("model",),
)
MODEL_LAST_LOAD_TIMESTAMP: Final = Metric(
    "vigil.model.last_load.timestamp",
    "gauge",
    "s",
    "When a replica of the version was loaded last, Unix time.",
    merge="max",
    labels=OF_VERSION,
)
MODEL_LAST_LOAD_DURATION: Final = Metric(
    "vigil.model.last_load.duration",
    "gauge",
    "s",
    "What loading took, warm-up included; the slowest of the version's replicas.",
    merge="max",
    labels=OF_VERSION,
)
UPSTREAM_UP: Final = Metric(
    "vigil.upstream.up",
    "gauge",
    "{boolean}",
    "1 while the server that holds the model can be reached, else 0.",
    merge="min",
    labels=(*OF_VERSION, "upstream"),
)

LOAD_CONFIGURATION: Final = "configuration"
"""What lies in the model's folder is wrong or missing, as reading it showed."""
LOAD_FAILED: Final = "load"
"""A replica could not load it: damaged files, the model's own code, or its warm-up."""
LOAD_CRASH: Final = "crash"
"""The replica's process ended before it could say why."""
LOAD_EXAMPLE: Final = "example"
"""Its replica is there and does not answer the example."""
LOAD_SIGNATURE: Final = "signature"
"""Its tensors are not those of the version in whose place it was to serve."""
LOAD_TIMEOUT: Final = "timeout"
"""It was not ready within `load_timeout_s`."""
LOAD_REASONS: Final = (
    LOAD_CONFIGURATION, LOAD_FAILED, LOAD_CRASH, LOAD_EXAMPLE, LOAD_SIGNATURE, LOAD_TIMEOUT,
)  # fmt: skip
"""Why a version could not be loaded."""
