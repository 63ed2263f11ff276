"""What drift is compared with, and what is said where there is nothing to compare with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from monitors.drift.distribution import DistributionDriftMonitor
from monitors.drift.live_drift import LiveDriftMonitor
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from serving.config import ModelConfig
from serving.models.profile.files import read_drift_reference
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.drift import build, build_of_predictions


@pytest.fixture
def make_entry(tmp_path: Path):
    def make(columns: int, profiled: int | bytes | None = None, **drift: Any) -> ModelEntry:
        """A version with an input of so many columns, and a profile of so many of them."""
        config = ModelConfig.model_validate({
            "format": "torch_export",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, columns]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            "monitors": {"drift": drift},
        })  # fmt: skip
        if profiled is not None:
            (tmp_path / "profile").mkdir()
            if isinstance(profiled, int):
                values = {f"x[{at}]": np.arange(200.0) for at in range(profiled)}
                profiled = msgspec.json.encode(ReferenceProfile.fit(values).to_dict())
            (tmp_path / "profile" / "drift.json").write_bytes(profiled)
        return ModelEntry("loans", "1", tmp_path, config)

    return make


def test_windows_are_compared_with_the_profile(make_entry):
    built = build(make_entry(3, profiled=3, window=70))
    assert isinstance(built.monitor, DistributionDriftMonitor)
    assert (built.monitor.filled, built.blind) == ((0, 70), ())


def test_windows_are_compared_with_the_first_rows(make_entry):
    built = build(make_entry(3, reference="live", reference_rows=150))
    assert isinstance(built.monitor, LiveDriftMonitor)
    assert built.monitor.progress == "collecting reference: 0 of 150 rows"
    assert built.blind == ()


def test_without_a_profile_it_says_how_to_make_one(make_entry):
    built = build(make_entry(3))
    assert built.monitor is None
    (blind,) = built.blind
    assert "run `vigil profile loans --data FILE`" in blind.why
    assert not blind.in_part


def test_a_profile_that_cannot_be_read_is_told(make_entry):
    built = build(make_entry(3, profiled=b"{"))
    assert built.monitor is None
    assert "drift.json" in built.blind[0].why


@pytest.mark.parametrize(
    ("profiled", "told"),
    [(8, "no column 'x[8]'; run"), (2, "'x[2]', 'x[3]', 'x[4]', 'x[5]', 'x[6]' and 2 more; run")],
)
def test_columns_that_the_profile_lacks_are_told_and_the_others_watched(make_entry, profiled, told):
    built = build(make_entry(9, profiled=profiled))
    assert built.monitor is not None
    (blind,) = built.blind
    assert blind.in_part
    assert told in blind.why


def test_answers_are_compared_with_those_of_the_profile_or_the_first_ones(make_entry):
    entry = make_entry(2, profiled=2, reference_rows=300)
    built = build_of_predictions(entry)
    assert isinstance(built.monitor, LiveDriftMonitor)
    assert built.monitor.progress == "collecting reference: 0 of 300 rows"
    profile = read_drift_reference(entry)
    answers = ReferenceProfile.fit({"y[1]": np.arange(200.0)})
    path = entry.profile / "drift.json"
    path.write_bytes(msgspec.json.encode(replace(profile, outputs=answers).to_dict()))
    built = build_of_predictions(entry)
    assert isinstance(built.monitor, DistributionDriftMonitor)
    assert (built.monitor.needs.outputs, built.monitor.needs.columns) == (True, False)


def test_a_previous_reference_is_one_that_is_renewed(make_entry):
    built = build(make_entry(1, reference="previous", reference_rows=100, window=50))
    rows = Rows(n=100, timestamp=5.0, columns={"x[0]": np.arange(100.0)})
    built.monitor.update(rows, 5.0)
    assert built.monitor.progress == "reference: previous 100 rows since 1970-01-01T00:00:05Z"
