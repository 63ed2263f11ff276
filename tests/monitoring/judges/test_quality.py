"""What inputs are checked for, and what is said where there is nothing to check them by."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from monitors.quality.data_quality import DataQualityMonitor
from monitors.reference.profile import ReferenceProfile
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.quality import build_of_inputs, expected

VALUES = {"age": np.arange(200), "job": np.array([b"a", b"b"] * 100, object)}


@pytest.fixture
def entry(tmp_path):
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 1],
             "features": [{"name": "age", "min": 18, "max": 99}]},
            {"name": "t", "datatype": "BYTES", "shape": [-1, 1],
             "features": [{"name": "job", "categories": ["a", "b", "c"]}]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"quality": {"window": 70}},
    })  # fmt: skip
    (tmp_path / "profile").mkdir()
    return ModelEntry("loans", "1", tmp_path, config)


def write(entry, raw):
    (entry.profile / "drift.json").write_bytes(msgspec.json.encode(raw))


def test_what_is_declared_goes_before_what_the_reference_had(entry):
    found = expected(ReferenceProfile.fit(VALUES), entry.config)
    assert found["age"].limits == (18, 99)
    assert found["job"].unknown("d")
    assert not found["job"].unknown("c")


def test_inputs_are_compared_with_the_profile(entry):
    write(entry, ReferenceProfile.fit(VALUES).to_dict())
    built = build_of_inputs(entry)
    assert isinstance(built.monitor, DataQualityMonitor)
    assert (built.monitor.filled, built.blind) == ((0, 70), ())


def test_without_types_it_says_how_to_learn_them(entry):
    (blind,) = build_of_inputs(entry).blind
    assert "has no profile; run `vigil profile loans" in blind.why
    raw = ReferenceProfile.fit(VALUES).to_dict()
    del raw["quality"]
    write(entry, raw)
    built = build_of_inputs(entry)
    assert built.monitor is None
    assert "without the types of its columns; run `vigil profile loans" in built.blind[0].why


def test_a_profile_that_cannot_be_read_is_told(entry):
    (entry.profile / "drift.json").write_bytes(b"{")
    assert "drift.json" in build_of_inputs(entry).blind[0].why


def test_a_live_reference_is_collected(entry):
    live = {"drift": {"reference": "live", "reference_rows": 150}}
    config = ModelConfig.model_validate({**entry.config.model_dump(), "monitors": live})
    built = build_of_inputs(ModelEntry("loans", "1", entry.directory, config))
    assert built.monitor.progress == "collecting reference: 0 of 150 rows"
