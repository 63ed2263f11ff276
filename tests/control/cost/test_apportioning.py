"""Shares of energy: in proportion, and adding up to the last microjoule."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.control.cost.apportioning import energy_of, share_out
from serving.control.cost.energy import DeviceEnergy, Reading, Told


def test_what_is_idle_belongs_to_no_model() -> None:
    parts = share_out(1000, {"a": 1.0, "b": 2.0, "": 3.0}, 10.0)
    assert parts == {"a": 100, "b": 200, "": 700}


def test_models_that_used_more_than_there_was_share_all() -> None:
    assert share_out(1000, {"a": 3.0, "b": 9.0}, 6.0) == {"a": 250, "b": 750, "": 0}


def test_nothing_used_and_nothing_there() -> None:
    assert share_out(1000, {}, 0.0) == {"": 1000}
    assert share_out(1000, {"a": 0.0}, 0.0) == {"": 1000}


@given(
    st.integers(0, 10**15),
    st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.floats(0, 1e6)),
    st.floats(0, 1e6),
)
def test_the_sum_is_exactly_what_was_told(
    microjoules: int, used: dict[str, float], available: float
) -> None:
    parts = share_out(microjoules, used, available)
    assert sum(parts.values()) == microjoules
    assert all(part >= 0 for part in parts.values())


@pytest.mark.usefixtures("four_processors")
def test_processors_by_processor_time_and_gpus_by_time_on_each() -> None:
    reading = Reading(
        5.0,
        {
            "rapl": Told((DeviceEnergy("p0", 1000), DeviceEnergy("p1", 2000)), complete=True),
            "nvml": Told((DeviceEnergy("GPU-1", 100), DeviceEnergy("GPU-2", 300))),
        },
    )
    grown = {
        "a": {"cpu/replica": 1.0, "cpu/gateway": 1.0, "gpu/GPU-1": 2.5, "check/drift": 9.0},
        "b": {"cpu/replica": 4.0, "gpu/GPU-1": 1.0, "gpu/GPU-2": 5.0, "gpu/unknown": 5.0},
        "": {"cpu/gateway": 1.0},
    }
    assert energy_of(reading, grown) == {
        "a": {"energy/rapl": 300, "energy/nvml": 50},
        "b": {"energy/rapl": 600, "energy/nvml": 320},
        "": {"energy/rapl": 2100, "energy/nvml": 30},
    }


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
