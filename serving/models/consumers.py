"""Who has a use for what a model answers, as its configuration says."""

from __future__ import annotations

from typing import Final

from serving.config.model import ModelConfig
from serving.config.tensor_specs import OutputSpec
from serving.protocol.datatypes import FLOATING

DRIFT: Final = "drift"
PREDICTION_DRIFT: Final = "prediction_drift"
DATA_QUALITY: Final = "data_quality"
FAIRNESS: Final = "fairness"
PERFORMANCE: Final = "performance"
ESTIMATION: Final = "estimation"
QUALITY: Final = "quality"
GUARD_RATE: Final = "guard_rate"
LABELS: Final = "labels"
"""The join of labels with predictions, which other consumers live on."""

ESTIMATED: Final = ("classes", "numbers")
"""Kinds of labels of which performance can be estimated."""
READS_INPUTS: Final = frozenset({DRIFT, DATA_QUALITY})
"""Consumers that need inputs; the others only see outputs and sensitive values."""


def consumers(config: ModelConfig) -> frozenset[str]:
    """Return who has a use for a model's predictions; empty: nobody, so none need be told.

    Gateways publish by it, and the monitor role judges and joins labels by it.
    """
    found: set[str] = set()
    if config.monitors.drift is not None:
        found.add(DRIFT)
        if fixed_outputs(config):
            found.add(PREDICTION_DRIFT)
        # Inputs are looked at where they are seen anyway.
        if config.monitors.quality is not None:
            found.add(DATA_QUALITY)
    if config.fairness is not None:
        found.add(FAIRNESS)
    if config.label_kind is not None:
        if config.monitors.performance is not None:
            found.add(PERFORMANCE)
            # What an estimate is compared with are labels; inputs it looks at where they are seen.
            if config.monitors.estimation is not None and config.label_kind in ESTIMATED:
                found.add(ESTIMATION)
        if PERFORMANCE in found or config.fairness is not None:
            found.add(LABELS)
    if config.monitors.guard_rate is not None and rated_guards(config):
        found.add(GUARD_RATE)
    # Answers are looked at where they are seen anyway.
    if config.monitors.quality is None:
        return frozenset(found)
    if found and any(spec.datatype in FLOATING for spec in config.outputs):
        found.add(QUALITY)
    return frozenset(found)


def rated_guards(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of all guards where the rate of one is stated, else none."""
    stated = any(each.stated_rate is not None for each in config.guards)
    return tuple(each.name for each in config.guards) if stated else ()


def fixed_outputs(config: ModelConfig) -> list[OutputSpec]:
    """Return the outputs whose rows have one shape; others cannot be compared with a reference."""
    return [spec for spec in config.outputs if -1 not in spec.shape[1:]]


def reads_inputs(config: ModelConfig) -> bool:
    """Whether a consumer needs the model's inputs; whoever judges slices does."""
    found = consumers(config)
    return bool(found and config.monitors.slices) or not READS_INPUTS.isdisjoint(found)
