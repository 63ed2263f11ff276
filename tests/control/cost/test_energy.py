"""All sources together: how long since the last reading, and what is logged of those that fail."""

from __future__ import annotations

import logging

import pytest

from serving.control.cost.energy import DeviceEnergy, Meter, Told


class Source:
    def __init__(self, name: str, told: Told) -> None:
        self.name, self.told = name, told

    def read(self) -> Told:
        return self.told


def test_readings_tell_the_time_between_them() -> None:
    clock = iter([10.0, 12.5])
    told = Told((DeviceEnergy("p", 5),), complete=True)
    meter = Meter((Source("rapl", told), Source("nvml", Told())), lambda: next(clock))
    assert meter.read().seconds == 0
    assert meter.read() == (2.5, {"rapl": told, "nvml": Told()})


def test_a_problem_is_logged_once_and_again_when_it_is_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source("rapl", Told(problem="it may not be read"))
    meter = Meter((source,))
    with caplog.at_level(logging.INFO, logger="vigil"):
        meter.read()
        meter.read()
        source.told = Told(problem="it is gone")
        meter.read()
        source.told = Told()
        meter.read()
    assert [record.getMessage() for record in caplog.records] == [
        "it may not be read",
        "it is gone",
    ]
