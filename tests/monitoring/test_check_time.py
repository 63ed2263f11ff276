"""Processor time of checks, and of all that is done for a model."""

from __future__ import annotations

from serving.monitoring.check_time import CheckTime
from serving.telemetry.counters import SeriesSet


def test_a_check_is_a_part_of_what_is_done_for_the_model() -> None:
    series = SeriesSet()
    now = 0
    time = CheckTime(series, "m", "1", lambda: now)
    began = time.clock()
    now = 2_000_000_000
    check = time.clock()
    now = 5_000_000_000
    time.checked("drift", check)
    now = 6_000_000_000
    time.worked(began)
    time.checked("drift", now - 500_000_000)
    told = {(item.name, item.attributes): item.value for item in series.snapshot()}
    version = (("model", "m"), ("version", "1"))
    assert told == {
        ("vigil.model.cpu.time", (version[0], ("role", "monitor"), version[1])): 6.0,
        ("vigil.check.cpu.time", (("check", "drift"), *version)): 3.5,
    }


def test_it_is_the_processors_time_and_not_the_walls() -> None:
    import time as clocks

    series = SeriesSet()
    time = CheckTime(series, "m", "1")
    began = time.clock()
    clocks.sleep(0.2)
    time.worked(began)
    (item,) = series.snapshot()
    assert item.value < 0.1
