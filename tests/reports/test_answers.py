from __future__ import annotations

import numpy as np
import pytest

from monitors.performance.metrics.estimate import Outcomes
from serving.config import ModelConfig
from serving.reports.answers import MOST_CLASSES, calibration, of_classes, of_numbers


def test_calibration_counts_rows_where_they_belong():
    given = np.array([0.0, 0.05, 0.95, 1.0])
    first, last = calibration(given, np.array([False, True, True, True]))
    assert (first.rows, first.true, last.rows, last.true) == (2, 0.5, 2, 1.0)
    assert (first.predicted, last.predicted) == pytest.approx((0.025, 0.975))
    assert first.low < 0.5 < first.high


def classes(k, names=True):
    output = {"name": "p", "datatype": "FP32", "shape": [-1, k]}
    if names:
        output["classes"] = [f"c{at}" for at in range(k)]
    inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    return ModelConfig.model_validate({"format": "onnx", "inputs": inputs, "outputs": [output]})


def test_of_many_classes_there_is_no_matrix():
    k = MOST_CLASSES + 1
    scores = np.eye(k)[[0, 1, 2]]
    found = of_classes(Outcomes(np.array([0, 1, 2]), np.array([0, 1, 1]), scores), classes(k))
    assert "confusion" not in found
    assert found["calibration_of"] == "probability of the predicted class"
    assert found["calibration"][0].true == pytest.approx(2 / 3)


def test_classes_without_names_are_numbered_and_scores_that_are_none_are_left_out():
    scores = np.array([[3.0, -2.0], [0.2, 0.9]])
    outcomes = Outcomes(np.array([0, 1]), np.array([0, 1]), scores)
    found = of_classes(outcomes, classes(2, names=False))
    assert (found["classes"], found["confusion"]) == (("0", "1"), ((1, 0), (0, 1)))
    assert "calibration" not in found


def test_an_unknown_answer_is_in_no_cell():
    outcomes = Outcomes(np.array([-1, 1]), np.array([0, 1]), None)
    assert of_classes(outcomes, classes(2))["confusion"] == ((0, 0), (0, 1))


def test_errors_are_counted_and_what_is_not_finite_is_not():
    answers = np.array([1.0, 2.0, 4.0, np.nan])
    found = of_numbers(Outcomes(answers, np.array([1.0, 1.0, 1.0, 1.0]), None))
    assert sum(found["residuals"].counts) == 3
    assert (found["residuals"].edges[0], found["residuals"].edges[-1]) == (0.0, 3.0)
    assert of_numbers(Outcomes(answers[3:], np.ones(1), None)) == {}
