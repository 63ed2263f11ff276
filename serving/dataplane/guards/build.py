"""Builds the guards that run in the gateway from a model's configuration."""

from __future__ import annotations

import numpy as np

from guards.decisions import ACTION_OF
from guards.guard import Guard
from guards.schema import InputRule, SchemaGuard
from serving import config


def build_guards(model: config.ModelConfig) -> list[Guard]:
    """Return the gateway guards of a model, in the order of its configuration."""
    return [
        SchemaGuard([_rule(spec) for spec in model.inputs if not spec.sensitive],
                    ACTION_OF[guard.action])
        for guard in model.guards
        if isinstance(guard, config.SchemaGuard)
    ]  # fmt: skip


def _rule(spec: config.InputSpec) -> InputRule:
    if spec.features is None:
        return InputRule(spec.name, minimum=spec.min, maximum=spec.max)
    return InputRule(
        spec.name,
        minimum=_bounds([f.min if f.min is not None else spec.min for f in spec.features], -np.inf),
        maximum=_bounds([f.max if f.max is not None else spec.max for f in spec.features], np.inf),
        categories=[set(f.categories) if f.categories else None for f in spec.features]
        if spec.datatype == "BYTES"
        else None,
        feature_names=[f.name for f in spec.features],
    )


def _bounds(values: list[float | None], missing: float) -> np.ndarray | None:
    if all(value is None for value in values):
        return None
    return np.array([missing if value is None else value for value in values])
