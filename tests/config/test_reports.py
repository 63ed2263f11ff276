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
