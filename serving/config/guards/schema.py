"""The guard `schema`: range, finiteness and category of every value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF
from guards.guard import Guard, Stage
from serving.config.guards.descriptor import GuardDescriptor, GuardSource
from serving.config.guards.section import GuardSection
from serving.config.tensor_specs import InputSpec

if TYPE_CHECKING:
    from guards.input.schema import InputRule


class SchemaGuardSection(GuardSection):
    """Range, finiteness and category checks in the gateway."""

    name: Literal["schema"] = Field(description="Chooses this guard.")


def _build(section: SchemaGuardSection, source: GuardSource) -> Guard:
    from guards.input.schema import SchemaGuard

    rules = [_rule(spec) for spec in source.inputs if not spec.sensitive]
    return SchemaGuard(rules, ACTION_OF[section.action])


def _rule(spec: InputSpec) -> InputRule:
    from guards.input.schema import InputRule

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


DESCRIPTOR = GuardDescriptor(section=SchemaGuardSection, stage=Stage.INPUT, build=_build)
