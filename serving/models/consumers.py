"""Who has a use for what a model answers, as its configuration says."""

from __future__ import annotations

from typing import Final

from serving.config.model import ModelConfig
from serving.protocol.datatypes import FLOATING

DRIFT: Final = "drift"
FAIRNESS: Final = "fairness"
PERFORMANCE: Final = "performance"
QUALITY: Final = "quality"
LABELS: Final = "labels"
"""The join of labels with predictions, which other consumers live on."""

READS_INPUTS: Final = frozenset({DRIFT})
"""Consumers that need inputs; the others only see outputs and sensitive values."""


def consumers(config: ModelConfig) -> frozenset[str]:
    """Return who has a use for a model's predictions; empty: nobody, so none need be told.

    Gateways publish by it, and the monitor role judges and joins labels by it.
    """
    found: set[str] = set()
    if config.monitors.drift is not None:
        found.add(DRIFT)
    if config.fairness is not None:
        found.add(FAIRNESS)
    if config.label_kind is not None:
        if config.monitors.performance is not None:
            found.add(PERFORMANCE)
        if found & {PERFORMANCE, FAIRNESS}:
            found.add(LABELS)
    # Answers are looked at where they are seen anyway.
    if found and any(spec.datatype in FLOATING for spec in config.outputs):
        found.add(QUALITY)
    return frozenset(found)


def reads_inputs(config: ModelConfig) -> bool:
    """Whether a consumer needs the model's inputs."""
    return not READS_INPUTS.isdisjoint(consumers(config))
