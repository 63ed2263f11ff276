"""The key `monitors.slices` of `model.yaml`: conditions on columns, checked against the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from serving.config.input_columns import column_kinds
from serving.config.tensor_specs import InputSpec
from serving.expressions.conditions import Condition, condition

MOST_SLICES: Final = 20


def slice_conditions(slices: Sequence[str], inputs: Sequence[InputSpec]) -> list[Condition]:
    """Read the slices of a model.

    Raises:
        ExpressionError: one cannot be read, or is about no column of the model.
    """
    columns = column_kinds(inputs) if slices else {}
    return [condition(text, columns) for text in slices]
