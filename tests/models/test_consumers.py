import pytest

from serving.config import ModelConfig, parse
from serving.models.consumers import (
    DRIFT,
    FAIRNESS,
    LABELS,
    PERFORMANCE,
    QUALITY,
    consumers,
    reads_inputs,
)

CODE = {"factory": "net:build", "trust_code": True}
X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize(
    ("output", "monitors", "takes_labels", "monitored"),
    [
        ({"shape": [-1, 2]}, {}, True, True),
        ({"shape": [-1, 2]}, {"drift": None}, True, True),
        ({"shape": [-1, 2]}, {"drift": None, "performance": None}, False, False),
        ({"shape": [-1, 2]}, {"performance": None}, False, True),
        ({"shape": [-1, 1]}, {"drift": None}, True, True),
        ({"shape": [-1]}, {"drift": None}, True, True),
        ({"shape": [-1]}, {"drift": None, "performance": {"metric": "accuracy"}}, False, False),
        ({"shape": [-1, -1]}, {"drift": None}, False, False),
        ({"shape": [-1], "datatype": "INT64"}, {"drift": None}, True, True),
        ({"shape": [-1], "datatype": "BYTES"}, {}, False, True),
    ],
)
def test_who_has_a_use_for_predictions_and_labels(output, monitors, takes_labels, monitored):
    raw = {"format": "safetensors", **CODE, "inputs": [X], "monitors": monitors}
    config = parse(ModelConfig, {**raw, "outputs": [{**X, **output}]}, "m")
    found = consumers(config)
    assert (LABELS in found, bool(found)) == (takes_labels, monitored)


def test_labels_are_of_use_to_fairness_too():
    fair = {"sensitive": ["sex"], "favorable": "yes"}
    output = {**X, "shape": [-1, 2], "classes": ["no", "yes"]}
    monitors = {"drift": None, "performance": None}
    raw = {"format": "torch_export", "inputs": [X], "outputs": [output], "fairness": fair}
    config = parse(ModelConfig, {**raw, "monitors": monitors}, "m")
    assert consumers(config) == {FAIRNESS, LABELS, QUALITY}
    assert not reads_inputs(config)


@pytest.mark.parametrize("drift", [{}, {"reference": "live"}, None])
@pytest.mark.parametrize("performance", [{}, None])
@pytest.mark.parametrize(("width", "takes_labels"), [(2, True), (1, True), (-1, False)])
def test_labels_are_joined_whether_or_not_drift_is_on(drift, performance, width, takes_labels):
    output = {**X, "shape": [-1, width]}
    monitors = {"drift": drift, "performance": performance}
    raw = {"format": "torch_export", "inputs": [X], "outputs": [output], "monitors": monitors}
    config = parse(ModelConfig, raw, "m")
    found = consumers(config)
    judged = performance is not None and takes_labels
    assert (LABELS in found) is (PERFORMANCE in found) is judged
    assert (DRIFT in found) is reads_inputs(config) is (drift is not None)
    assert (QUALITY in found) is (judged or drift is not None)


@pytest.mark.parametrize(
    ("datatype", "looked_at"), [("FP32", True), ("BF16", True), ("INT64", False)]
)
def test_only_numbers_that_may_be_none_are_looked_at(datatype, looked_at):
    output = {**X, "datatype": datatype}
    config = parse(ModelConfig, {"format": "torch_export", "inputs": [X], "outputs": [output]}, "m")
    assert (QUALITY in consumers(config)) is looked_at


def test_errors_of_numbers_are_compared_between_groups_which_needs_labels():
    raw = {
        "format": "torch_export", "inputs": [X], "outputs": [{**X, "shape": [-1]}],
        "monitors": {"drift": None, "performance": None}, "fairness": {"sensitive": ["sex"]},
    }  # fmt: skip
    assert consumers(parse(ModelConfig, raw, "m")) & {FAIRNESS, LABELS} == {FAIRNESS, LABELS}
