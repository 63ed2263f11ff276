"""Which metrics a model has, which thresholds they have, and what is said of those that miss."""

import numpy as np
import pytest

from monitors.reference.learnt_metric import Learnt
from monitors.rows import Rows
from serving.config import ModelConfig
from serving.models.profile.files import write_performance
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.performance import WINDOW, build

SCORES = {"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}


def entry(tmp_path, performance=None, output=SCORES, **more):
    (tmp_path / "profile").mkdir(exist_ok=True)
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [output],
        "monitors": {"performance": performance or {}}, **more,
    })  # fmt: skip
    return ModelEntry("loans", "1", tmp_path, config)


def findings(built, make):
    rows = Rows(n=WINDOW, timestamp=1.0, **make)
    return {each.metric: each for each in built.monitor.update(rows, now=0.0)}


@pytest.fixture
def rows():
    labels = np.arange(WINDOW) % 2
    return {"predicted": np.zeros(WINDOW, np.int64), "labels": labels}


@pytest.mark.parametrize(
    ("output", "metrics", "title"),
    [
        (SCORES, ["accuracy", "balanced_accuracy", "f1", "auroc", "auprc", "log_loss", "brier",
                  "calibration_error"], ""),
        ({"name": "y", "datatype": "BOOL", "shape": [-1]},
         ["accuracy", "balanced_accuracy", "f1"], ""),
        ({"name": "y", "datatype": "INT64", "shape": [-1]}, ["accuracy"], ""),
        ({"name": "y", "datatype": "FP32", "shape": [-1]}, ["mae", "rmse", "r2"], "error"),
    ],
)  # fmt: skip
def test_what_is_measured_depends_on_the_output(tmp_path, rows, output, metrics, title):
    built = build(entry(tmp_path, output=output))
    assert list(findings(built, rows)) == metrics
    assert (built.title, built.blind) == (title, ())


def test_the_favourable_class_is_the_positive_one(tmp_path, rows):
    fairness = {"sensitive": ["sex"], "favorable": "no"}
    assert findings(build(entry(tmp_path, fairness=fairness)), rows)["f1"].value == pytest.approx(
        2 / 3
    )
    assert findings(build(entry(tmp_path)), rows)["f1"].value == 0


def test_thresholds_are_declared_or_learnt(tmp_path, rows):
    performance = {"min": 0.8, "learn": ["auroc", "f1"]}
    model = entry(tmp_path, performance)
    (model.profile / "performance.json").write_bytes(
        write_performance({"f1": Learnt(0.9, 0.85, 300), "accuracy": Learnt(0.9, 0.7, 300)})
    )
    built = build(model)
    found = {name: each.threshold for name, each in findings(built, rows).items()}
    assert (found["accuracy"], found["f1"], found["auroc"]) == (0.8, 0.85, None)
    (blind,) = built.blind
    assert blind.in_part
    assert "the profile has no threshold of auroc; run `vigil profile loans --data" in blind.why


def test_a_damaged_profile_is_told_and_the_rest_is_judged(tmp_path, rows):
    model = entry(tmp_path, {"min": 0.8, "learn": ["f1"]})
    (model.profile / "performance.json").write_bytes(b"{")
    built = build(model)
    assert findings(built, rows)["accuracy"].breached is True
    assert "performance.json: damaged" in built.blind[0].why
