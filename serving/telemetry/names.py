"""Every metric that Vigil emits: OpenTelemetry name, kind, unit, and how processes combine.

Counts carry UCUM annotations (`{row}`), which OpenTelemetry's translation to Prometheus drops;
`1` is kept for true fractions, whose gauges that translation ends in `_ratio`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["sum", "gauge", "histogram"]
Merge = Literal["sum", "max", "last"]

LATENCY_BOUNDS_S: Final = (
    50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3,
    100e-3, 200e-3, 500e-3, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of latency buckets in seconds, 50 microseconds to 10 seconds."""

BATCH_BOUNDS: Final = tuple(float(2**power) for power in range(11))
"""Upper bounds of batch size buckets, 1 to 1024 rows."""

SCORE_BOUNDS: Final = tuple(float(2.0**power) for power in range(-6, 11))
"""Upper bounds of guard score buckets; scores have no common scale, so powers of two."""

ERROR_BOUNDS: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Upper bounds of relative error buckets."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: OpenTelemetry name.
        kind: `sum` only ever grows; `gauge` is a current value; `histogram` has fixed bounds.
        unit: UCUM unit, base units only.
        description: one line for people.
        bounds: a histogram's upper bucket bounds.
        merge: how gauges of several processes with the same attributes become one: amounts
            add up, lags take the worst, verdicts (which one process makes) take the last.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()
    merge: Merge = "sum"


def _latency(name: str, description: str) -> Metric:
    return Metric(name, "histogram", "s", description, LATENCY_BOUNDS_S)


def _total(name: str, what: str, description: str) -> Metric:
    return Metric(name, "sum", f"{{{what}}}", description)


def _amount(name: str, what: str, description: str) -> Metric:
    return Metric(name, "gauge", f"{{{what}}}", description)


def _verdict(name: str, unit: str, description: str) -> Metric:
    return Metric(name, "gauge", unit, description, merge="last")


INFERENCE_DURATION: Final = _latency(
    "vigil.inference.duration", "Time from a request's arrival to its answer."
)
INFERENCE_QUEUE_DURATION: Final = _latency(
    "vigil.inference.queue.duration", "Time a request waited for a slot."
)
INFERENCE_COMPUTE_DURATION: Final = _latency(
    "vigil.inference.compute.duration", "Time of a batch in the model."
)
INFERENCE_REQUESTS: Final = _total(
    "vigil.inference.requests", "request", "Requests answered, by outcome."
)
INFERENCE_ROWS: Final = _total("vigil.inference.rows", "row", "Rows predicted.")
BATCH_ROWS: Final = Metric(
    "vigil.batch.rows", "histogram", "{row}", "Rows per batch.", BATCH_BOUNDS
)
QUEUE_ROWS: Final = _amount("vigil.queue.rows", "row", "Rows that wait for a slot.")
QUEUE_ROWS_ABANDONED: Final = _total(
    "vigil.queue.rows.abandoned",
    "row",
    "Rows that waited and were never computed because nobody wanted the answer, by reason.",
)
REPLICA_SLOTS_USED: Final = _amount(
    "vigil.replica.slots.used", "slot", "Batch slots of replicas in use."
)
REPLICA_SLOTS_TOTAL: Final = _amount(
    "vigil.replica.slots.total", "slot", "Batch slots of replicas."
)
REPLICA_RESTARTS: Final = _total(
    "vigil.replica.restarts", "restart", "Replicas that came back after they died."
)
RETRIES: Final = _total("vigil.retries", "batch", "Batches sent to another replica.")
REJECTED: Final = _total("vigil.rejected", "request", "Requests refused, by reason.")

GUARD_DECISIONS: Final = _total(
    "vigil.guard.decisions", "row", "Rows a guard did not pass, by guard and action."
)
GUARD_DURATION: Final = _latency("vigil.guard.duration", "Time of a guard on a batch.")
GUARD_SCORE: Final = Metric(
    "vigil.guard.score", "histogram", "{score}", "Scores that guards gave.", SCORE_BOUNDS
)

DRIFT_SCORE: Final = _verdict("vigil.drift.score", "{score}", "Latest drift effect size.")
DRIFT_P_VALUE: Final = _verdict(
    "vigil.drift.p_value", "{probability}", "Adjusted p-value of the latest drift test."
)
DRIFT_ALARMS: Final = _total("vigil.drift.alarms", "alarm", "Windows that raised drift.")
QUALITY_VIOLATIONS: Final = _total(
    "vigil.quality.violations", "row", "Answered rows with NaN or infinity in an output."
)

PERFORMANCE_SCORE: Final = _verdict(
    "vigil.performance.score", "{score}", "Latest score against labels, by metric."
)
PERFORMANCE_ESTIMATED: Final = _verdict(
    "vigil.performance.estimated", "{score}", "Latest score estimated without labels."
)
PERFORMANCE_ESTIMATION_ERROR: Final = _verdict(
    "vigil.performance.estimation_error", "{score}", "Estimated minus measured score."
)

FAIRNESS_DISPARITY: Final = _verdict(
    "vigil.fairness.disparity", "{score}", "Latest disparity, by metric and attribute."
)
FAIRNESS_CI_LOWER: Final = _verdict(
    "vigil.fairness.disparity.ci.lower", "{score}", "Lower end of the disparity's interval."
)
FAIRNESS_CI_UPPER: Final = _verdict(
    "vigil.fairness.disparity.ci.upper", "{score}", "Upper end of the disparity's interval."
)
LABELS_COVERAGE: Final = _verdict(
    "vigil.labels.coverage", "1", "Share of predictions that have a label."
)
FAIRNESS_SUPPRESSED_CELLS: Final = _verdict(
    "vigil.fairness.suppressed_cells", "{cell}", "Groups too small to be judged."
)

EXPLAIN_DURATION: Final = _latency("vigil.explain.duration", "Time of an explanation.")
EXPLAIN_COMPLETENESS_ERROR: Final = Metric(
    "vigil.explain.completeness_error",
    "histogram",
    "1",
    "Relative completeness error of attributions.",
    ERROR_BOUNDS,
)
EXPLAIN_QUEUE_DEPTH: Final = _amount(
    "vigil.explain.queue.depth", "request", "Explanations that wait."
)

EVENTS_SENT: Final = _total("vigil.events.sent", "event", "Prediction events sent to the monitor.")
EVENTS_DROPPED: Final = _total(
    "vigil.events.dropped", "event", "Prediction events dropped, by reason."
)
EVENTS_RECEIVED: Final = _total(
    "vigil.events.received", "event", "Prediction events the monitor received."
)
EVENTS_LOST: Final = _total(
    "vigil.events.lost", "event", "Prediction events that were sent and never arrived."
)
STORE_ROWS: Final = _total("vigil.store.rows", "row", "Rows written to the store.")
STORE_ERRORS: Final = _total("vigil.store.errors", "error", "Writes to the store that failed.")
MONITOR_LAG: Final = Metric(
    "vigil.monitor.lag", "gauge", "s", "Age of the newest event the monitor has read.", merge="max"
)
ENERGY_JOULES: Final = Metric("vigil.energy.joules", "sum", "J", "Energy the device used.")
TELEMETRY_EXPORT_FAILURES: Final = _total(
    "vigil.telemetry.export.failures", "export", "OTLP exports that failed."
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

SERVER_FAULTS: Final = frozenset(
    {OUTCOME_OVERLOADED, OUTCOME_DEADLINE, OUTCOME_UNAVAILABLE, OUTCOME_FAILED}
)
"""Outcomes that are the server's fault: these make the error rate."""
