"""What fairlearn says is shown of groups with enough rows on each side of the truth."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from serving.config import ModelConfig
from serving.reports.metric_frame import metric_frame


def test_without_fairlearn_there_is_none(rows, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    assert metric_frame(rows, config) is None


def test_a_group_that_is_hidden_is_not_in_its_figures(rows, config):
    before = metric_frame(rows, config)["sex"]
    sex = rows.groups["sex"].copy()
    sex[np.flatnonzero(rows.labelled)[:30]] = "X"  # not 20 of them have the same truth
    wrong = rows.predicted.copy()
    wrong[sex == "X"] = 1 - wrong[sex == "X"]
    after = metric_frame(replace(rows, groups={"sex": sex}, predicted=wrong), config)["sex"]
    assert abs(after["accuracy difference"] - before["accuracy difference"]) < 0.05


def test_one_group_with_labels_is_nothing_to_compare(rows, config):
    one = np.full(rows.rows, "F", object)
    assert metric_frame(replace(rows, groups={"sex": one}), config) == {}


def test_errors_of_numbers_are_compared(rows, config):
    raw = config.model_dump(exclude={"fairness", "monitors"})
    raw["outputs"] = [{"name": "p", "datatype": "FP32", "shape": [-1]}]
    raw["monitors"] = {"performance": {"max": 0.5}}
    truth = np.zeros(rows.labelled.sum())
    answers = np.where(rows.groups["sex"] == "F", 0.5, 0.2)
    some = replace(rows, predicted=answers, scores=None, labels=truth)
    found = metric_frame(some, ModelConfig.model_validate(raw))["sex"]
    assert abs(found["mean_absolute_error difference"] - 0.3) < 1e-12
