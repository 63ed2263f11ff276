"""What the guard `schema` checks of the inputs that a configuration describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from guards.rows import Rows
from serving.config import InputSpec
from serving.config.guards.descriptor import GuardSource
from serving.config.guards.schema import DESCRIPTOR, SchemaGuardSection


def judged(spec: dict[str, Any], rows: Any, action: str = "flag") -> list[int]:
    inputs = [InputSpec.model_validate({"name": "x", "datatype": "FP32", "shape": [-1, 2], **spec})]
    section = SchemaGuardSection.model_validate({"name": "schema", "action": action})
    guard = DESCRIPTOR.build(section, GuardSource(inputs=inputs, outputs=(), learned={}))
    array = np.array(rows, dtype=object if spec.get("datatype") == "BYTES" else np.float32)
    decisions: list[int] = guard.check(Rows(n=len(array), inputs={"x": array})).action.tolist()
    return decisions


FLAG = int(Action.FLAG)
A, B = {"name": "a"}, {"name": "b"}


@pytest.mark.parametrize(
    ("spec", "rows", "expected"),
    [
        ({}, [[1e30, -1e30], [np.nan, 0], [np.inf, 0]], [0, FLAG, FLAG]),
        ({"min": 0}, [[0, 1e30], [-1, 0]], [0, FLAG]),
        ({"max": 0}, [[0, -1e30], [1, 0]], [0, FLAG]),
        ({"features": [A, B]}, [[1e30, -1e30], [0, np.nan]], [0, FLAG]),
        ({"features": [{**A, "min": 0}, B]}, [[0, -9], [-1, 0]], [0, FLAG]),
        ({"features": [A, {**B, "max": 0}]}, [[9, 0], [0, 1]], [0, FLAG]),
        ({"min": 5, "features": [{**A, "min": 0}, B]}, [[0, 5], [0, 4]], [0, FLAG]),
        ({"max": 5, "features": [{**A, "max": 0}, B]}, [[0, 5], [1, 5]], [0, FLAG]),
    ],
)
def test_bounds_of_a_feature_come_before_those_of_its_input(
    spec: dict[str, Any], rows: Any, expected: list[int]
) -> None:
    assert judged(spec, rows) == expected


def test_categories_are_of_their_column_alone() -> None:
    spec = {"datatype": "BYTES", "features": [{**A, "categories": ["u", "v"]}, B]}
    assert judged(spec, [[b"u", b"any"], [b"w", b"u"]]) == [0, FLAG]


def test_sensitive_inputs_are_not_looked_at() -> None:
    assert judged({"sensitive": True, "min": 0}, [[-1, np.nan]]) == [0]


@pytest.mark.parametrize("action", ["flag", "shadow", "reject"])
def test_the_section_says_what_happens(action: str) -> None:
    assert judged({}, [[np.nan, 0]], action) == [int(Action[action.upper()])]
