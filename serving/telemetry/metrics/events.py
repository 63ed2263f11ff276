"""Metrics of prediction events on their way to monitors and the store."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import Metric, total

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
STORE_ROWS: Final = total("vigil.store.rows", "row", "Rows in the prediction log.", of=())
STORE_SAMPLED_OUT: Final = total(
    "vigil.store.sampled_out", "row", "Rows that the prediction log's sample leaves out.", of=()
)
STORE_DROPPED: Final = total(
    "vigil.store.dropped", "row", "Rows lost to the prediction log, by reason.", "reason", of=()
)
STORE_WAITING: Final = Metric(
    "vigil.store.waiting", "gauge", "{row}", "Rows that wait to be written to the prediction log."
)
STORE_PARTS: Final = total(
    "vigil.store.parts", "file", "Parquet files of the prediction log that were finished.", of=()
)
STORE_ERRORS: Final = total(
    "vigil.store.errors", "error", "Writes to the prediction log that failed.", of=()
)
STORE_LABELS: Final = total(
    "vigil.store.labels", "label", "Labels in the prediction log, corrections included.", of=()
)
STORE_LABELS_DROPPED: Final = total(
    "vigil.store.labels.dropped",
    "label",
    "Labels that the monitor has and that could not be written to the prediction log.",
    of=(),
)
MONITOR_LAG: Final = Metric(
    "vigil.monitor.lag", "gauge", "s", "Age of the newest event the monitor has read.", merge="max"
)
MONITOR_UNSAVED: Final = Metric(
    "vigil.monitor.unsaved",
    "gauge",
    "{row}",
    "Rows that the monitor would forget if it was killed, because its disk cannot be written to.",
)
MONITOR_REPLAYED: Final = total(
    "vigil.monitor.replayed", "row", "Rows taken in again after a restart of the monitor.", of=()
)
MONITOR_TORN: Final = total(
    "vigil.monitor.torn",
    "record",
    "Records of the monitor's write-ahead log that were cut short.",
    of=(),
)
