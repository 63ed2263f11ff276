"""All metrics by name.

Counts carry UCUM annotations (`{row}`), which OpenTelemetry's translation to Prometheus drops;
`1` is kept for true fractions, whose gauges that translation ends in `_ratio`.
"""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import Metric
from serving.telemetry.metrics import (
    cloudevents,
    cost,
    events,
    explanations,
    findings,
    guards,
    incidents,
    inference,
    labels,
    models,
    process,
    servers,
)

METRICS: Final = {
    value.name: value
    for area in (
        inference,
        servers,
        models,
        guards,
        findings,
        incidents,
        labels,
        explanations,
        events,
        cloudevents,
        process,
        cost,
    )
    for value in vars(area).values()
    if type(value) is Metric
}
"""Every one that is declared in an area."""
