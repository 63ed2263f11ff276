"""Slices in model.yaml: read when it is loaded, about columns that the model has."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ConfigError, ModelConfig, parse
from serving.config.slices import MOST_SLICES

INPUTS: list[dict[str, Any]] = [
    {"name": "x", "datatype": "FP32", "shape": [-1, 2],
     "features": [{"name": "age"}, {"name": "income"}]},
    {"name": "y", "datatype": "FP32", "shape": [-1, 1], "features": [{"name": "income"}]},
    {"name": "kind", "datatype": "BYTES", "shape": [-1]},
    {"name": "sex", "datatype": "BYTES", "shape": [-1], "sensitive": True},
    {"name": "z", "datatype": "INT64", "shape": [-1, 2, 2]},
    {"name": "big", "datatype": "FP32", "shape": [-1, 300]},
    {"name": "free", "datatype": "FP32", "shape": [-1, -1]},
]  # fmt: skip


def made(*slices: str) -> ModelConfig:
    raw = {
        "format": "torch_export", "inputs": INPUTS, "monitors": {"slices": list(slices)},
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    }  # fmt: skip
    return parse(ModelConfig, raw, "models/m/model.yaml")


def test_slices_are_read_when_the_file_is():
    made("age > 60", "kind = 'a' and x.income is missing", "`z[0,1]` = 3")


def test_of_inputs_that_the_artefact_tells_they_are_read_when_it_has():
    raw = {"format": "onnx", "monitors": {"slices": ["age > 60"]}}
    config = parse(ModelConfig, raw, "models/m/model.yaml")
    assert config.monitors.slices == ["age > 60"]
    with pytest.raises(ConfigError, match="there is no column 'age'; there are 'y'"):
        parse(ModelConfig, {**raw, "inputs": [{**INPUTS[2], "name": "y"}]}, "models/m/model.yaml")


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        (["agee > 60"], "monitors.slices: 'agee > 60': there is no column 'agee'"),
        (["sex = 'F'"], "there is no column 'sex'"),
        (["kind > 3"], "column 'kind' holds text"),
        (["age > 1", "age > 1"], "monitors.slices names a condition twice"),
        ([f"age > {at}" for at in range(MOST_SLICES + 1)], "slices"),
    ],
)
def test_a_wrong_one_is_told_in_a_sentence_that_names_the_column(slices, says):
    with pytest.raises(ConfigError) as raised:
        made(*slices)
    assert says in raised.value.message
