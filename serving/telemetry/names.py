"""Every metric that Vigil emits: OpenTelemetry name, kind, unit, and how processes combine.

Counts carry UCUM annotations (`{row}`), which OpenTelemetry's translation to Prometheus drops;
`1` is kept for true fractions, whose gauges that translation ends in `_ratio`.
"""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import (
    BATCH_BOUNDS,
    ERROR_BOUNDS,
    OF_FINDING,
    OF_PROCESS,
    OF_VERSION,
    SCORE_BOUNDS,
    Metric,
    amount,
    latency,
    process,
    total,
    verdict,
)

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
REPLICA_SLOTS_USED: Final = amount(
    "vigil.replica.slots.used", "slot", "Batch slots of replicas in use."
)
REPLICA_SLOTS_TOTAL: Final = amount("vigil.replica.slots.total", "slot", "Batch slots of replicas.")
REPLICA_RESTARTS: Final = total(
    "vigil.replica.restarts", "restart", "Replicas that came back after they died."
)
RETRIES: Final = total("vigil.retries", "batch", "Batches sent to another replica.")
QUERIES_OF_DEATH: Final = total(
    "vigil.queries_of_death",
    "request",
    "Requests answered 500 because computing them ends replicas.",
)
REJECTED: Final = total("vigil.rejected", "request", "Requests refused, by reason.", "reason")

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

FINDING_VALUE: Final = verdict(
    "vigil.finding.value",
    "{value}",
    "Latest measured value, by monitor, metric and what it was measured on.",
    *OF_FINDING,
)
FINDING_BREACHED: Final = verdict(
    "vigil.finding.breached",
    "{boolean}",
    "1 while the value is on the bad side of its threshold, else 0.",
    *OF_FINDING,
)
FINDING_CI_LOWER: Final = verdict(
    "vigil.finding.ci.lower", "{value}", "Lower end of the value's interval.", *OF_FINDING
)
FINDING_CI_UPPER: Final = verdict(
    "vigil.finding.ci.upper", "{value}", "Upper end of the value's interval.", *OF_FINDING
)
FINDING_ROWS: Final = verdict(
    "vigil.finding.rows", "{row}", "Rows that the value was measured on.", *OF_FINDING
)
DRIFT_SCORE: Final = verdict("vigil.drift.score", "{score}", "Latest drift effect size.", "feature")
DRIFT_P_VALUE: Final = verdict(
    "vigil.drift.p_value", "{probability}", "Adjusted p-value of the latest drift test.", "feature"
)
DRIFT_ALARMS: Final = total("vigil.drift.alarms", "alarm", "Windows that raised drift.")
QUALITY_VIOLATIONS: Final = total(
    "vigil.quality.violations", "row", "Answered rows with NaN or infinity in an output.", "output"
)

PERFORMANCE_SCORE: Final = verdict(
    "vigil.performance.score", "{score}", "Latest score against labels, by metric.", "metric"
)
PERFORMANCE_ESTIMATED: Final = verdict(
    "vigil.performance.estimated", "{score}", "Latest score estimated without labels.", "metric"
)
PERFORMANCE_ESTIMATION_ERROR: Final = verdict(
    "vigil.performance.estimation_error", "{score}", "Estimated minus measured score.", "metric"
)

FAIRNESS_DISPARITY: Final = verdict(
    "vigil.fairness.disparity",
    "{score}",
    "Latest disparity, by metric and attribute.",
    "metric",
    "attribute",
)
FAIRNESS_CI_LOWER: Final = verdict(
    "vigil.fairness.disparity.ci.lower",
    "{score}",
    "Lower end of the disparity's interval.",
    "metric",
    "attribute",
)
FAIRNESS_CI_UPPER: Final = verdict(
    "vigil.fairness.disparity.ci.upper",
    "{score}",
    "Upper end of the disparity's interval.",
    "metric",
    "attribute",
)
LABELS_COVERAGE: Final = verdict(
    "vigil.labels.coverage", "1", "Share of predictions that have a label."
)
FAIRNESS_SUPPRESSED_CELLS: Final = verdict(
    "vigil.fairness.suppressed_cells",
    "{cell}",
    "Groups too small to be judged.",
    "metric",
    "attribute",
)

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

EVENTS_SENT: Final = total("vigil.events.sent", "event", "Prediction events sent to the monitor.")
EVENTS_DROPPED: Final = total(
    "vigil.events.dropped", "event", "Prediction events dropped, by reason.", "reason"
)
EVENTS_RECEIVED: Final = total(
    "vigil.events.received", "event", "Prediction events the monitor received.", of=()
)
EVENTS_LOST: Final = total(
    "vigil.events.lost", "event", "Prediction events that were sent and never arrived.", of=()
)
STORE_ROWS: Final = total("vigil.store.rows", "row", "Rows written to the store.", of=())
STORE_ERRORS: Final = total(
    "vigil.store.errors", "error", "Writes to the store that failed.", of=()
)
MONITOR_LAG: Final = Metric(
    "vigil.monitor.lag", "gauge", "s", "Age of the newest event the monitor has read.", merge="max"
)
ENERGY_JOULES: Final = Metric(
    "vigil.energy.joules", "sum", "J", "Energy the device used.", labels=OF_VERSION
)
TELEMETRY_EXPORT_FAILURES: Final = total(
    "vigil.telemetry.export.failures", "export", "OTLP exports that failed.", of=()
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
BUILD_INFO: Final = Metric(
    "vigil.build.info",
    "gauge",
    "{info}",
    "Always 1; what runs.",
    merge="last",
    labels=("version", "python", "engine", "ingress"),
)

PROCESS_RESIDENT_MEMORY: Final = process(
    "process.resident_memory", "By", "Resident memory of a process, shared pages included."
)
PROCESS_CPU: Final = Metric(
    "process.cpu",
    "sum",
    "s",
    "Processor time of a process, user and system.",
    labels=OF_PROCESS,
    outlives=False,
)
PROCESS_OPEN_FDS: Final = process("process.open_fds", "{fd}", "Open file descriptors.")
PROCESS_START_TIME: Final = process(
    "process.start_time", "s", "When a process was started, Unix time.", merge="max"
)

METRICS: Final = {value.name: value for value in list(globals().values()) if type(value) is Metric}
"""All of the above by name."""

# -- closed sets of attribute values ------------------------------------------------------

OUTCOME_OK: Final = "ok"
"""The request was answered with outputs."""
OUTCOME_INVALID: Final = "invalid"
"""The client's request was wrong."""
OUTCOME_REJECTED: Final = "rejected"
"""A guard refused it."""
OUTCOME_OVERLOADED: Final = "overloaded"
"""No room: it was refused before it waited."""
OUTCOME_DEADLINE: Final = "deadline"
"""Its deadline passed."""
OUTCOME_UNAVAILABLE: Final = "unavailable"
"""No replica was there to answer."""
OUTCOME_FAILED: Final = "failed"
"""The model or the server failed."""
OUTCOME_ABANDONED: Final = "abandoned"
"""The client went away before the answer."""

ABANDONED_DISCONNECT: Final = "disconnect"
"""The client went away."""
ABANDONED_DEADLINE: Final = "deadline"
"""The deadline passed."""
ABANDONED_FAILED: Final = "failed"
"""Another part of the same request failed."""

ABANDONED_REASONS: Final = (ABANDONED_DISCONNECT, ABANDONED_DEADLINE, ABANDONED_FAILED)

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

SERVER_FAULTS: Final = frozenset(
    {OUTCOME_OVERLOADED, OUTCOME_DEADLINE, OUTCOME_UNAVAILABLE, OUTCOME_FAILED}
)
"""Outcomes that are the server's fault: these make the error rate."""
