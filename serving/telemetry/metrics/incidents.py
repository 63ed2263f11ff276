"""Metrics of incidents, of the receivers that are told of them, and of the store."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import Metric, total

INCIDENTS_OPEN: Final = Metric(
    "vigil.incidents.open",
    "gauge",
    "{incident}",
    "Incidents that are open or acknowledged, by severity.",
    merge="last",
    labels=("model", "severity"),
)
INCIDENTS_OPENED: Final = total(
    "vigil.incidents.opened",
    "incident",
    "Incidents opened, and opened again, by severity.",
    "severity",
    of=("model",),
)
WEBHOOK_DELIVERIES: Final = total(
    "vigil.webhooks.deliveries",
    "message",
    "Messages about incidents that a receiver has taken, or that were dropped, by outcome.",
    "receiver",
    "outcome",
    of=(),
)
WEBHOOK_FAILURES: Final = total(
    "vigil.webhooks.failures",
    "attempt",
    "Attempts to give a receiver a message that failed, by reason.",
    "receiver",
    "reason",
    of=(),
)
WEBHOOK_WAITING: Final = Metric(
    "vigil.webhooks.waiting",
    "gauge",
    "{message}",
    "Messages that a receiver has still to be given.",
    merge="last",
    labels=("receiver",),
)
INCIDENT_STORE_FAILURES: Final = total(
    "vigil.incidents.store.failures",
    "attempt",
    "Attempts to read or write incidents in the store that failed, by reason.",
    "reason",
    of=(),
)
INCIDENT_STORE_WAITING: Final = Metric(
    "vigil.incidents.store.waiting",
    "gauge",
    "{change}",
    "Changes of incidents that are not in the store yet.",
    merge="last",
)
