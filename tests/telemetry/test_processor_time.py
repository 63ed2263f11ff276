"""Processor time of this process, its ended children included."""

from __future__ import annotations

import subprocess
import sys
import time

from serving.telemetry.counters import SeriesSet
from serving.telemetry.processor_time import ModelProcessorTime, processor_time

SPIN = "import time\nwhile time.process_time() < 0.3: pass"


def test_what_this_process_and_its_ended_children_spend() -> None:
    began = processor_time()
    assert began > 0
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert processor_time() - began >= 0.1
    before_child = processor_time()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    assert processor_time() - before_child >= 0.29


def test_the_series_of_a_version_never_goes_back() -> None:
    series = SeriesSet()
    clock = iter([1.5, 1.25, 2.0])
    spent = ModelProcessorTime(series, "replica", "m", "1", lambda: next(clock))
    told = []
    for _ in range(3):
        spent.update()
        (item,) = series.snapshot()
        told.append(item.value)
    assert told == [1.5, 1.5, 2.0]
    assert dict(item.attributes) == {"model": "m", "version": "1", "role": "replica"}
