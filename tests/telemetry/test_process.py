"""What `/proc` tells of processes, held against what the process knows itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.unsent import unsent_lines
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.process import ProcessSeries


def told(series: SeriesSet) -> dict[str, float]:
    return {item.name: item.value for item in series.snapshot()}


def test_this_process(tmp_path: Path) -> None:
    series = SeriesSet()
    process = ProcessSeries(series, "replica", "replica-m-1-0", "m", "1")
    process.update()
    before = told(series)
    assert before["process.resident_memory"] > 1 << 20
    assert before["process.cpu"] == pytest.approx(time.process_time(), abs=0.5)
    assert time.time() - before["process.start_time"] == pytest.approx(
        time.clock_gettime(time.CLOCK_BOOTTIME)
        - int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        / os.sysconf("SC_CLK_TCK"),
        abs=2,
    )
    spent = time.process_time() + 0.1
    while time.process_time() < spent:
        pass
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        process.update()
    after = told(series)
    assert after["process.open_fds"] == before["process.open_fds"] + 2
    assert after["process.cpu"] >= before["process.cpu"] + 0.05
    labels = {item.attributes for item in series.snapshot() if item.name.startswith("process.")}
    assert labels == {
        (("model", "m"), ("process", "replica-m-1-0"), ("role", "replica"), ("version", "1"))
    }


def test_another_process_whose_name_is_a_trap_and_its_end(tmp_path: Path) -> None:
    program = tmp_path / ") R 1 (("
    program.symlink_to(sys.executable)
    child = subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE)
    series = SeriesSet()
    process = ProcessSeries(series, "zygote", "zygote", pid=child.pid)
    deadline = time.monotonic() + 30
    while True:  # the kernel counts the first pages of a process late
        process.update()
        first = told(series)
        if first["process.resident_memory"] > 0:
            break
        assert time.monotonic() < deadline
    assert abs(first["process.start_time"] - time.time()) < 600
    child.communicate(b"\n")
    process.update()  # it has ended
    assert told(series) == first


def test_labels_without_a_value_are_left_out() -> None:
    series = SeriesSet()
    ProcessSeries(series, "gateway", "gateway-0").update()
    assert {name for item in series.snapshot() for name, _ in item.attributes} == {
        "role", "process",
    }  # fmt: skip
    assert {item.name for item in series.snapshot()} == {
        *(name for name in METRICS if name.startswith("process.")),
        "vigil.telemetry.lines.dropped",
    }


def test_lines_that_no_collector_got_are_this_process_s_alone() -> None:
    series = SeriesSet()
    before = unsent_lines.count
    unsent_lines.add(3)
    ProcessSeries(series, "gateway", "gateway-0").update()
    assert told(series)["vigil.telemetry.lines.dropped"] == before + 3
    other = SeriesSet()
    ProcessSeries(other, "zygote", "zygote", pid=os.getpid()).update()
    assert "vigil.telemetry.lines.dropped" not in told(other)
