"""What must be known about the machine to read its figures."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGES = ("ray", "torch", "numpy", "pyvoy", "msgspec", "grpcio", "protobuf", "uvloop")


def machine() -> dict[str, object]:
    """Return date, processor, cores, memory, kernel, versions, commit and the load before it."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor[1] if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "wrk": _first_line(["wrk", "-v"]),
        "h2load": _first_line(["h2load", "--version"]),
        "commit": _first_line(["git", "rev-parse", "--short", "HEAD"]),
        "uncommitted_changes": bool(_first_line(["git", "status", "--porcelain", "-uno"])),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def command(module: str, arguments: Sequence[str] | None) -> str:
    """Return the command that makes these results again; no arguments: those of this process."""
    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["python", "-m", module, *given])


def missing_tools() -> list[str]:
    """Return the load generators that are not installed, with the Debian package of each."""
    packages = {"wrk": "wrk", "h2load": "nghttp2-client"}
    return [f"{tool} (apt install {p})" for tool, p in packages.items() if not shutil.which(tool)]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line(command: list[str]) -> str:
    # `wrk -v` answers on stdout and exits with 1.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(done.stdout.splitlines()), "")
