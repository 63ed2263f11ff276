"""The key `monitors.slices` of `model.yaml`: conditions on columns, checked against the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.config.tensor_specs import InputSpec
from serving.expressions.conditions import Condition, condition
from serving.expressions.operands import ColumnKind

MOST_SLICES: Final = 20
_MOST_ELEMENTS: Final = 256
"""As in `serving.models.profile.columns`."""


def slice_conditions(slices: Sequence[str], inputs: Sequence[InputSpec]) -> list[Condition]:
    """Read the slices of a model.

    Raises:
        ExpressionError: one cannot be read, or is about no column of the model.
    """
    columns = column_kinds(inputs) if slices else {}
    return [condition(text, columns) for text in slices]


def column_kinds(inputs: Sequence[InputSpec]) -> dict[str, ColumnKind]:
    """Return the columns that monitors see of inputs with a fixed shape, and what is in them."""
    seen = [spec for spec in inputs if not spec.sensitive]
    names = [feature.name for spec in seen for feature in spec.features or []]
    found: dict[str, ColumnKind] = {}
    for spec in seen:
        kind: ColumnKind = "text" if spec.datatype == "BYTES" else "numbers"
        for name in _names(spec, names):
            found[name] = kind
    return found


def _names(spec: InputSpec, features: Sequence[str]) -> list[str]:
    if spec.features:
        return [
            f"{spec.name}.{each.name}" if features.count(each.name) > 1 else each.name
            for each in spec.features
        ]
    inner = spec.shape[1:]
    if not inner:
        return [spec.name]
    if -1 in inner:
        return []
    if np.prod(inner) > _MOST_ELEMENTS and spec.datatype != "BYTES":
        return [f"{spec.name}.mean", f"{spec.name}.std"]
    return [f"{spec.name}[{','.join(map(str, at))}]" for at in np.ndindex(*inner)]
