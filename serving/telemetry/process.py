"""What the kernel knows of a process: memory, processor time, file descriptors, and its start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.unsent import unsent_lines
from serving.telemetry.metrics.process import (
    LINES_DROPPED,
    PROCESS_CPU,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
)

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME, _STARTTIME, _RSS = 11, 12, 19, 21
"""Fields of `/proc/PID/stat` behind the process's name; see proc_pid_stat(5), which counts from 1
and has two before them."""


class ProcessSeries:
    """The series of one process of this machine.

    Args:
        series: where they are kept.
        role: what the process is.
        process: its name in the directory, which no other living process has.
        model, version: what it serves; empty where it serves none.
        pid: the process; none: this one.
    """

    def __init__(
        self,
        series: SeriesSet,
        role: str,
        process: str,
        model: str = "",
        version: str = "",
        pid: int | None = None,
    ) -> None:
        about = {"role": role, "process": process, "model": model, "version": version}
        labels = {name: value for name, value in about.items() if value}
        self._folder = Path("/proc", "self" if pid is None else str(pid))
        self._spent_before = 0.0
        self._memory = series.gauge(PROCESS_RESIDENT_MEMORY, **labels)
        self._cpu = series.sum(PROCESS_CPU, **labels)
        self._files = series.gauge(PROCESS_OPEN_FDS, **labels)
        self._start = series.gauge(PROCESS_START_TIME, **labels)
        self._lines = series.sum(LINES_DROPPED) if pid is None else None

    def follow(self, pid: int) -> None:
        """Be about another process from now on, which has taken the place of the one before."""
        self._folder = Path("/proc", str(pid))
        self._start.set(0)
        self._spent_before = self._cpu.value

    def update(self) -> None:
        """Bring them up to date; those of a process that has ended stay as they were."""
        if self._lines is not None:
            self._lines.value = max(self._lines.value, unsent_lines.count)
        try:
            fields = _fields(self._folder)
            files = _open_files(self._folder / "fd")
        except OSError:
            return
        self._memory.set(int(fields[_RSS]) * _PAGE)
        spent = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
        self._cpu.add(max(0.0, self._spent_before + spent - self._cpu.value))
        self._files.set(files)
        if not self._start.value:
            self._start.set(_boot_time() + int(fields[_STARTTIME]) / _TICKS)


def _fields(folder: Path) -> list[str]:
    # The name in the second field may hold anything, also a bracket; none comes after it.
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _open_files(folder: Path) -> int:
    # Linux 6.2 and later tell the number as the folder's size; before that it is 0. Listing the
    # descriptors of a gateway with thousands of connections would hold up its requests.
    return folder.stat().st_size or sum(1 for _ in folder.iterdir())


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
