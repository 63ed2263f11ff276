from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.config import ModelConfig
from serving.config.reports import Reports

MODEL = {
    "format": "onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
}


def test_a_kind_is_named_once():
    with pytest.raises(ValidationError, match="names a report twice"):
        Reports.model_validate({"kinds": ["drift", "drift"]})


@pytest.mark.parametrize(
    "wrong", [{"kinds": []}, {"kinds": ["cost"]}, {"kinds": ["drift"], "every_s": 5}]
)
def test_what_cannot_be_made_is_refused(wrong):
    with pytest.raises(ValidationError):
        Reports.model_validate(wrong)


def test_fairness_needs_its_section():
    wanted = {"reports": {"kinds": ["fairness"]}}
    with pytest.raises(ValidationError, match="needs the section `fairness`"):
        ModelConfig.model_validate({**MODEL, **wanted})
    fairness = {"fairness": {"sensitive": ["sex"], "favorable": "yes"}}
    assert ModelConfig.model_validate({**MODEL, **wanted, **fairness}).reports.keep == 7


NUMBERS = [{"name": "p", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(
    ("fairness", "outputs", "said"),
    [
        ({}, MODEL["outputs"], "name the class of output 'p' whose selection is favourable"),
        ({"favorable": "maybe"}, MODEL["outputs"], "'maybe' is not among the classes"),
        ({"favorable": "yes"}, NUMBERS, "'yes' is not among the classes"),
    ],
)
def test_only_numbers_need_no_favourable_class(fairness, outputs, said):
    raw = {**MODEL, "outputs": outputs, "fairness": {"sensitive": ["sex"], **fairness}}
    with pytest.raises(ValidationError, match=said):
        ModelConfig.model_validate(raw)


def test_groups_of_numbers_may_be_compared_in_reports():
    raw = {**MODEL, "outputs": NUMBERS, "fairness": {"sensitive": ["sex"]}}
    raw["monitors"] = {"performance": {"metric": "mae", "max": 1}}
    assert ModelConfig.model_validate(raw).fairness.favorable is None


@pytest.mark.parametrize("metric", ["mae", "ndcg"])
def test_several_numbers_a_row_are_not_compared(metric):
    raw = {**MODEL, "fairness": {"sensitive": ["sex"]}}
    raw["outputs"] = [{"name": "p", "datatype": "FP32", "shape": [-1, 5]}]
    raw["monitors"] = {"performance": {"metric": metric}}
    with pytest.raises(ValidationError, match="only a model of one number a row needs none"):
        ModelConfig.model_validate(raw)
