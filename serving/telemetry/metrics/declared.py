"""All metrics by name.

Counts carry UCUM annotations (`{row}`), which OpenTelemetry's translation to Prometheus drops;
`1` is kept for true fractions, whose gauges that translation ends in `_ratio`.
"""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import Metric
from serving.telemetry.metrics import (
    cloudevents,
    events,
    explanations,
    findings,
    guards,
    inference,
    models,
    process,
)

METRICS: Final = {
    value.name: value
    for area in (inference, models, guards, findings, explanations, events, cloudevents, process)
    for value in vars(area).values()
    if type(value) is Metric
}
"""Every one that is declared in an area."""
