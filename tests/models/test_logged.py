"""What the monitor is told of a model's predictions, for the log and for its monitors."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ModelConfig, ModelLog, parse
from serving.models.logged import column_names, kept_inputs, told_inputs, told_outputs

INPUTS = [
    {"name": "one", "datatype": "FP32", "shape": [-1]},
    {"name": "column", "datatype": "BYTES", "shape": [-1, 1]},
    {"name": "free", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "named", "datatype": "FP32", "shape": [-1, 2],
     "features": [{"name": "a"}, {"name": "b"}]},
    {"name": "bare", "datatype": "FP32", "shape": [-1, 2]},
    {"name": "image", "datatype": "UINT8", "shape": [-1, 2, 2]},
]  # fmt: skip
OUTPUTS = [
    {"name": "scores", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]},
    {"name": "hidden", "datatype": "FP32", "shape": [-1, 8]},
]
OFF = {"drift": None, "performance": None}


def config(log: ModelLog | None, **monitors: Any) -> ModelConfig:
    raw = {"format": "torch_export", "inputs": INPUTS, "outputs": OUTPUTS}
    made = parse(ModelConfig, {**raw, "monitors": {**OFF, **monitors}}, "m")
    return made.model_copy(update={"log": log})


def test_columns_bear_the_names_of_features_and_classes() -> None:
    assert column_names(config(None)) == {"named": ["a", "b"], "scores": ["no", "yes"]}
    many = [str(number) for number in range(101)]
    raw = {"format": "torch_export", "inputs": INPUTS[:1], "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [-1, 101], "classes": many}]}  # fmt: skip
    assert column_names(parse(ModelConfig, raw, "m")) == {}


@pytest.mark.parametrize(
    ("log", "inputs", "outputs"),
    [
        (None, False, False),
        (ModelLog(capture="none"), False, False),
        (ModelLog(capture="full"), True, True),
        (ModelLog(capture="features"), {"one", "column", "free", "named"}, {"scores"}),
    ],
)
def test_what_is_told_for_the_log(log: ModelLog | None, inputs: Any, outputs: Any) -> None:
    assert told_inputs(config(log)) == inputs
    assert told_outputs(config(log)) == outputs
    assert kept_inputs(config(log)) == (None if inputs is False else inputs)


@pytest.mark.parametrize("capture", ["none", "features", "full", None])
def test_monitors_are_told_of_all_that_they_need(capture: Any) -> None:
    log = None if capture is None else ModelLog(capture=capture)
    assert told_inputs(config(log, drift={"reference": "live"})) is True
    assert told_outputs(config(log, drift={"reference": "live"})) is True
    assert told_inputs(config(log, performance={})) == told_inputs(config(log))
    assert told_outputs(config(log, performance={})) is True
