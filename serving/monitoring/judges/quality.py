"""Quality of a model version's answers: whether they are numbers."""

from __future__ import annotations

from monitors.quality.non_finite import NonFiniteMonitor
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built
from serving.protocol.datatypes import FLOATING


def build(entry: ModelEntry) -> Built:
    """Return the monitor of the floating-point outputs, which needs no section."""
    outputs = [spec.name for spec in entry.config.outputs if spec.datatype in FLOATING]
    return Built(NonFiniteMonitor(outputs))
