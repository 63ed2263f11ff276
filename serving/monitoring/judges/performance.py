"""Performance of a model version on the rows whose truth is known."""

from __future__ import annotations

from typing import Final

from monitors.performance.accuracy import AccuracyMonitor
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.descriptor import Built

WINDOW: Final = 200
"""Labelled rows per verdict: few, because labels are rarer than predictions."""


def build(entry: ModelEntry) -> Built:
    """Return the monitor of `monitors.performance`."""
    config = entry.config.monitors.performance
    assert config is not None
    return Built(AccuracyMonitor(config.min, WINDOW))
