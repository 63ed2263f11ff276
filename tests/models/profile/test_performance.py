"""What a profile says of a version on held-out rows with labels."""

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.models.profile import performance
from serving.models.profile.dataset import Dataset
from serving.models.profile.performance import NOTHING, performance_of
from serving.models.repository.folder import ModelEntry


@pytest.fixture
def entry(tmp_path):
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    })  # fmt: skip
    return ModelEntry("loans", "1", tmp_path, config)


@pytest.fixture
def model(monkeypatch):
    """Says yes to what is above 0."""

    def answered(entry, inputs, progress):
        yes = np.where(inputs["x"][:, 0] > 0, 0.9, 0.2).astype(np.float32)
        return {"y": np.stack([1 - yes, yes], axis=1)}

    monkeypatch.setattr(performance, "answered", answered)


def held(labels):
    x = np.where(np.arange(len(labels)) % 2, 1, -1).astype(np.float32)
    return Dataset({"x": x[:, None]}, np.array(labels, object))


def test_all_metrics_that_the_labels_allow_are_learnt(entry, model):
    labels = ["yes" if at % 2 else "no" for at in range(200)]
    labels[:20] = ["yes"] * 20
    found = performance_of(entry, held(labels), told=[].append).thresholds
    assert found["accuracy"].value == 0.95
    assert found["accuracy"].threshold < 0.95
    assert {"auroc", "log_loss", "calibration_error"} <= found.keys()


def test_rows_without_a_label_are_left_out_and_few_say_nothing(entry, model):
    told = []
    labels = [["no", "yes"][at % 2] for at in range(150)]
    labels[:40] = [None] * 40
    learnt = performance_of(entry, held(labels), told.append).thresholds
    assert learnt["accuracy"].rows == 110
    labels[:60] = [float("nan")] * 60
    assert performance_of(entry, held(labels), told.append) == NOTHING
    assert told == [
        (
            "performance without labels: 110 held-out rows have a label and an answer, and 500 are "
            "needed; profile with more labelled rows"
        ),
        "thresholds of performance: 100 held-out rows need a label, 90 have",
    ]


def test_labels_of_another_kind_are_told(entry, model):
    told = []
    assert performance_of(entry, held(["maybe"] * 150), told.append) == NOTHING
    (said,) = told
    assert said.startswith("thresholds of performance: the model's answers and the labels do not")
    assert "a class name ('no', 'yes')" in said


def test_without_labels_nothing_is_said_twice(entry, model):
    told = []
    rows = Dataset({"x": np.zeros((5, 1), np.float32)})
    assert performance_of(entry, rows, told.append) == NOTHING
    assert told == []


def test_many_labelled_rows_say_how_performance_is_estimated(entry, monkeypatch):
    score = np.random.default_rng(0).random(1200)

    def answered(entry, inputs, progress):
        yes = inputs["x"][:, 0]
        return {"y": np.stack([1 - yes, yes], axis=1)}

    monkeypatch.setattr(performance, "answered", answered)
    truth = np.random.default_rng(1).random(1200) < score
    rows = Dataset({"x": score.astype(np.float32)[:, None]}, np.where(truth, "yes", "no"))
    found = performance_of(entry, rows, told=[].append).estimation
    assert (found.method, found.chunk_rows, found.reference.n) == ("PAPE", 60, 1200)
    assert list(found.columns.columns) == ["x[0]"]


def test_scores_that_are_all_alike_are_no_ground_for_estimates(entry, monkeypatch):
    def answered(entry, inputs, progress):
        return {"y": np.full((len(inputs["x"]), 2), 0.5)}

    monkeypatch.setattr(performance, "answered", answered)
    told = []
    labels = ["yes" if at % 2 else "no" for at in range(600)]
    assert performance_of(entry, held(labels), told.append).estimation is None
    (said,) = told
    assert said.startswith("performance without labels: the score of class 0 is 0.5 in every row")
