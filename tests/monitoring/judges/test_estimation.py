"""Whether performance can be estimated of a version, and what is said where it cannot."""

import numpy as np
import pytest

from monitors.estimation.fitted import fit_estimation
from monitors.estimation.predictions import Predictions
from serving.config import ModelConfig
from serving.models.consumers import ESTIMATION, consumers
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.estimation import build

SCORES = {"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}


def entry(tmp_path, **monitors):
    (tmp_path / "profile").mkdir(exist_ok=True)
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [SCORES],
        "monitors": monitors,
    })  # fmt: skip
    return ModelEntry("loans", "1", tmp_path, config)


@pytest.fixture
def profiled(tmp_path):
    rng = np.random.default_rng(0)
    score = rng.random(1000)
    fitted = fit_estimation(
        {},
        Predictions(features={}, scores=np.column_stack((1 - score, score))),
        (rng.random(1000) < score).astype(np.int64),
        None,
        1000,
    )
    (tmp_path / "profile").mkdir()
    np.savez(tmp_path / "profile" / "estimation.npz", **fitted.to_arrays())
    return tmp_path


def test_thresholds_are_those_of_performance(profiled):
    built = build(entry(profiled, performance={"min": 0.7, "thresholds": {"auroc": 0.6}}))
    assert built.blind == ()
    assert built.monitor.filled == (0, 50)
    assert built.monitor._settings.thresholds == {"accuracy": 0.7, "auroc": 0.6}
    assert built.monitor._settings.rate == 3.0


def test_without_labelled_reference_rows_one_sentence_says_why_and_nobody_is_alarmed(tmp_path):
    built = build(entry(tmp_path))
    assert built.monitor is None
    (blind,) = built.blind
    assert blind.by_default
    assert "too few labelled rows" in blind.why
    assert "vigil profile loans --data FILE --label COLUMN" in blind.why


def test_a_damaged_file_is_told(profiled):
    (profiled / "profile" / "estimation.npz").write_bytes(b"no archive")
    built = build(entry(profiled))
    assert built.monitor is None
    assert "damaged" in built.blind[0].why
    assert not built.blind[0].by_default


@pytest.mark.parametrize(
    ("monitors", "wanted"),
    [({}, True), ({"estimation": None}, False), ({"performance": None}, False)],
)
def test_it_is_on_by_default_where_labels_are_taken(tmp_path, monitors, wanted):
    assert (ESTIMATION in consumers(entry(tmp_path, **monitors).config)) is wanted
