"""What a profile says of a version on held-out rows with labels."""

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.models.profile import performance
from serving.models.profile.dataset import Dataset
from serving.models.profile.performance import performance_of
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
    found = performance_of(entry, held(labels), told=[].append)
    assert found["accuracy"].value == 0.95
    assert found["accuracy"].threshold < 0.95
    assert {"auroc", "log_loss", "calibration_error"} <= found.keys()


def test_rows_without_a_label_are_left_out_and_few_say_nothing(entry, model):
    told = []
    labels = [["no", "yes"][at % 2] for at in range(150)]
    labels[:40] = [None] * 40
    assert performance_of(entry, held(labels), told.append)["accuracy"].rows == 110
    labels[:60] = [float("nan")] * 60
    assert performance_of(entry, held(labels), told.append) == {}
    assert told == ["thresholds of performance: 100 held-out rows need a label, 90 have"]


def test_labels_of_another_kind_are_told(entry, model):
    told = []
    assert performance_of(entry, held(["maybe"] * 150), told.append) == {}
    (said,) = told
    assert said.startswith("thresholds of performance: the model's answers and the labels do not")
    assert "a class name ('no', 'yes')" in said


def test_without_labels_nothing_is_said_twice(entry, model):
    told = []
    rows = Dataset({"x": np.zeros((5, 1), np.float32)})
    assert performance_of(entry, rows, told.append) == {}
    assert told == []
