"""Fairness of a model version: whether its groups are selected at the same rate."""

from __future__ import annotations

from monitors.fairness.selection_rate_difference import SelectionRateMonitor
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the section `fairness`."""
    config = entry.config.fairness
    assert config is not None
    output = entry.config.outputs[0]
    return Built(
        SelectionRateMonitor(
            config.sensitive,
            (output.classes or []).index(config.favorable),
            output.name,
            config.tolerance.demographic_parity_difference,
            config.window,
        )
    )
