"""What the guard `schema` checks of the inputs that a configuration describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guards.decisions import Action, Decisions
from guards.rows import Rows
from serving.config import ConfigError, InputSpec, ModelConfig, parse
from serving.config.guards.descriptor import GuardSource
from serving.config.guards.schema import DESCRIPTOR, MOST_RULES, SchemaGuardSection
from serving.protocol.datatypes import fp32_to_bf16


def judged(spec: dict[str, Any], rows: Any, action: str = "flag") -> list[int]:
    inputs = [InputSpec.model_validate({"name": "x", "datatype": "FP32", "shape": [-1, 2], **spec})]
    section = SchemaGuardSection.model_validate({"name": "schema", "action": action})
    guard = DESCRIPTOR.build(section, GuardSource(inputs=inputs, outputs=(), learned={}))
    kinds = {"BYTES": object, "BF16": np.uint16}
    array = np.array(rows, dtype=kinds.get(spec.get("datatype", ""), np.float32))
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


def test_missing_values_pass_in_the_columns_that_allow_them() -> None:
    features = [{**A, "missing": "allow"}, B]
    rows = [[np.nan, 0], [0, np.nan], [np.inf, 0]]
    assert judged({"features": features}, rows) == [0, FLAG, FLAG]
    assert judged({"features": [A, B]}, rows) == [FLAG, FLAG, FLAG]
    both = [{**each, "categories": ["u"]} for each in features]
    words = [[b"", b"u"], [b"u", b""], [b"w", b"u"]]
    assert judged({"datatype": "BYTES", "features": both}, words) == [0, FLAG, FLAG]


@pytest.mark.parametrize(
    ("spec", "rows", "expected"),
    [
        ({}, [[1, -3e38], [np.nan, 0], [0, np.inf], [-np.inf, 0]], [0, FLAG, FLAG, FLAG]),
        ({"min": 0.1, "max": 10}, [[0.1, 10], [1, 20], [0, 1]], [0, FLAG, FLAG]),
        ({"features": [{**A, "min": -0.3}, B]}, [[-0.3, -9], [-0.4, 0]], [0, FLAG]),
        ({"features": [{**A, "missing": "allow"}, B]}, [[np.nan, 1], [1, np.nan]], [0, FLAG]),
    ],
)
def test_bf16_is_judged_as_the_numbers_that_it_is_of(
    spec: dict[str, Any], rows: Any, expected: list[int]
) -> None:
    bits = fp32_to_bf16(np.array(rows, np.float32))
    assert judged({"datatype": "BF16", **spec}, bits) == expected
    assert judged(spec, rows) == expected


def test_the_reason_of_bf16_has_the_limit() -> None:
    inputs = [
        InputSpec.model_validate({"name": "x", "datatype": "BF16", "shape": [-1], "max": 0.1})
    ]
    source = GuardSource(inputs=inputs, outputs=(), learned={})
    guard = DESCRIPTOR.build(SchemaGuardSection(name="schema"), source)
    decisions = guard.check(Rows(2, {"x": fp32_to_bf16(np.array([0.1, 11], np.float32))}))
    assert decisions.reasons == {1: "input 'x': the value must be at most 0.1"}


def test_sensitive_inputs_are_not_looked_at() -> None:
    assert judged({"sensitive": True, "min": 0}, [[-1, np.nan]]) == [0]


@pytest.mark.parametrize("action", ["flag", "shadow", "reject"])
def test_the_section_says_what_happens(action: str) -> None:
    assert judged({}, [[np.nan, 0]], action) == [int(Action[action.upper()])]


RATIO = "debt_ratio <= 1 or income > 0"
TABLE = [
    {"name": "x", "datatype": "FP32", "shape": [-1, 2],
     "features": [{"name": "debt_ratio"}, {"name": "income"}]},
    {"name": "home", "datatype": "BYTES", "shape": [-1]},
    {"name": "sex", "datatype": "BYTES", "shape": [-1], "sensitive": True},
    {"name": "brain", "datatype": "BF16", "shape": [-1]},
]  # fmt: skip


Y = {"name": "y", "datatype": "FP32", "shape": [-1, 2]}


def with_rules(*rules: str) -> ModelConfig:
    raw = {
        "format": "torch_export", "inputs": TABLE, "outputs": [Y],
        "guards": [{"name": "schema", "action": "reject", "rules": list(rules)}],
    }  # fmt: skip
    return parse(ModelConfig, raw, "model.yaml")


def ruled(*rules: str, x: Any, home: Any = None, brain: Any = None) -> Decisions:
    config = with_rules(*rules)
    source = GuardSource(inputs=config.inputs, outputs=config.outputs, learned={})
    array = np.array(x, np.float32)
    n = len(array)
    bits = fp32_to_bf16(np.array(brain or [0] * n, np.float32))
    text = np.array(home or [b"own"] * n, object)
    rows = Rows(n=n, inputs={"x": array, "home": text, "brain": bits})
    return DESCRIPTOR.build(config.guards[0], source).check(rows)


def test_a_row_must_fulfil_every_rule_and_the_reason_has_no_value() -> None:
    decisions = ruled(
        RATIO,
        "home != 'rent' or income < 100",
        x=[[0.5, 0], [1.5, 0], [1.5, 7], [0.5, 123], [7, -5]],
        home=[b"rent", b"own", b"rent", b"rent", b"own"],
    )
    assert decisions.action.tolist() == [0, 3, 0, 3, 3]
    assert decisions.reasons == {
        1: f"'debt_ratio', 'income' must fulfil: {RATIO}",
        3: "'income', 'home' must fulfil: home != 'rent' or income < 100",
        4: f"'debt_ratio', 'income' must fulfil: {RATIO}",
    }


def test_a_rule_that_is_unknown_because_a_value_is_missing_is_not_broken() -> None:
    home = [b"", b"rent", b"own"]
    decisions = ruled("home = 'own'", x=[[0, 0]] * 3, home=home)
    assert decisions.action.tolist() == [0, 3, 0]
    told = ruled("home = 'own' and home is not missing", x=[[0, 0]] * 3, home=home)
    assert told.action.tolist() == [3, 3, 0]
    divided = ruled("debt_ratio / income < 2", x=[[1, 0], [9, 1], [1, 1]])
    assert divided.action.tolist() == [0, 3, 0]


def test_a_rule_sees_bf16_as_the_numbers_that_it_is_of() -> None:
    decisions = ruled("brain < 1.5", x=[[0, 0]] * 3, brain=[-2.0, 1.0, 2.0])
    assert decisions.action.tolist() == [0, 0, 3]


def test_a_value_that_is_the_bound_fulfils_the_rule() -> None:
    assert ruled("debt_ratio <= 0.1", x=[[0.1, 0], [0.11, 0]]).action.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([RATIO, "debt > 1"], "guards: schema: rules[1]: 'debt > 1': there is no column 'debt'; "),
        (["sex = 'F'"], "guards: schema: rules[0]: 'sex = 'F'': there is no column 'sex'"),
        (["home > 3"], "column 'home' holds text"),
        ([RATIO, RATIO], f"rules[1]: '{RATIO}' stands there twice; take one of them out"),
        ([f"income > {at}" for at in range(MOST_RULES + 1)], "guards.0.schema.rules: "),
        ([""], "rules[0]: '': a column is expected"),
    ],
)
def test_a_wrong_rule_is_told_with_its_place(rules: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as told:
        with_rules(*rules)
    assert why in told.value.message


def test_rules_wait_for_inputs_that_the_artefact_tells() -> None:
    raw = {"format": "onnx", "guards": [{"name": "schema", "rules": ["a < b"]}]}
    assert parse(ModelConfig, raw, "model.yaml").inputs == []
    with pytest.raises(ConfigError, match=r"rules\[0\]: 'a < b': there is no column 'a'"):
        parse(ModelConfig, {**raw, "inputs": TABLE}, "model.yaml")
