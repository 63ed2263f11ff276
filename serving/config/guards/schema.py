"""The guard `schema`: range, finiteness and category of every value, and rules of whole rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from pydantic import Field

from guards.decisions import ACTION_OF
from guards.guard import Guard, Stage
from serving.config.guards.descriptor import GuardDescriptor, GuardSource
from serving.config.guards.section import GuardSection
from serving.config.input_columns import InputColumn, columns_of
from serving.config.tensor_specs import InputSpec
from serving.expressions.conditions import Condition, condition
from serving.expressions.tokens import ExpressionError

if TYPE_CHECKING:
    from guards.input.schema import InputRule, RowRule

MOST_RULES: Final = 50


class SchemaGuardSection(GuardSection):
    """Range, finiteness and category checks in the gateway."""

    name: Literal["schema"] = Field(description="Chooses this guard.")
    rules: list[str] = Field(
        default_factory=list,
        max_length=MOST_RULES,
        description="Conditions that every row has to fulfil, such as `debt <= income / 2 or "
        "income is missing`, in the language of `monitors.slices`. A row for which one is unknown, "
        "because a value is missing, passes.",
    )


def _check(section: SchemaGuardSection, inputs: Sequence[InputSpec]) -> None:
    _conditions(section.rules, columns_of(inputs) if section.rules else {})


def _build(section: SchemaGuardSection, source: GuardSource) -> Guard:
    from guards.input.schema import SchemaGuard

    rules = [_rule(spec) for spec in source.inputs if not spec.sensitive]
    columns = columns_of(source.inputs) if section.rules else {}
    row_rules = [_row_rule(each, columns) for each in _conditions(section.rules, columns)]
    return SchemaGuard(rules, ACTION_OF[section.action], row_rules)


def _conditions(rules: Sequence[str], columns: Mapping[str, InputColumn]) -> list[Condition]:
    """Read the rules.

    Raises:
        ValueError: one is none, with which and why.
    """
    kinds = {name: each.kind for name, each in columns.items()}
    found: list[Condition] = []
    for at, text in enumerate(rules):
        try:
            found.append(condition(text, kinds))
        except ExpressionError as error:
            raise ValueError(f"rules[{at}]: {error}") from None
        if text in rules[:at]:
            raise ValueError(f"rules[{at}]: '{text}' stands there twice; take one of them out")
    return found


def _row_rule(read: Condition, columns: Mapping[str, InputColumn]) -> RowRule:
    from guards.input.schema import RowRule

    looked_at = {name: each for name, each in columns.items() if name in read.columns}
    return RowRule(read.text, tuple(looked_at), _broken(read, looked_at))


def _broken(
    read: Condition, columns: Mapping[str, InputColumn]
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    places = [(name, each.input, each.read) for name, each in columns.items()]

    def broken(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        truth = read.of({name: column(inputs[given]) for name, given, column in places})
        return truth.known > truth.true  # known, and not true

    return broken


def _rule(spec: InputSpec) -> InputRule:
    from guards.input.schema import InputRule

    bits = spec.datatype == "BF16"
    if spec.features is None:
        return InputRule(spec.name, minimum=spec.min, maximum=spec.max, bits=bits)
    return InputRule(
        spec.name,
        minimum=_bounds([f.min if f.min is not None else spec.min for f in spec.features], -np.inf),
        maximum=_bounds([f.max if f.max is not None else spec.max for f in spec.features], np.inf),
        categories=[set(f.categories) if f.categories else None for f in spec.features]
        if spec.datatype == "BYTES"
        else None,
        feature_names=[f.name for f in spec.features],
        missing=[f.missing == "allow" for f in spec.features],
        bits=bits,
    )


def _bounds(values: list[float | None], missing: float) -> np.ndarray | None:
    if all(value is None for value in values):
        return None
    return np.array([missing if value is None else value for value in values])


DESCRIPTOR = GuardDescriptor(
    section=SchemaGuardSection, stage=Stage.INPUT, build=_build, check=_check
)
