"""Triton's `perf_analyzer`, a C++ client, out of a wheel of tritonclient that still has it.

It needs Debian's package libb64-0d beside; CUDA's runtime comes in a wheel, and no GPU is needed.
`python -m loadtest.peers.perf_analyzer` makes the environment and does nothing else.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.home import bench_home
from loadtest.peers.tritonserver import make_venv

# One of the last wheels that have the binary. It sends what all C++ clients since 2.38 send.
REQUIREMENTS = ("tritonclient==2.43.0", "nvidia-cuda-runtime-cu12==12.4.127")
_COMPLETE = ".perf_analyzer"


def install(home: Path) -> Path:
    """Make the virtual environment unless it is there; return its directory."""
    venv = home / "perf_analyzer"
    make_venv(venv, REQUIREMENTS, _COMPLETE)
    return venv


def missing(home: Path) -> str:
    """Return what has to be done before `run` works; empty when nothing is missing."""
    if not (home / "perf_analyzer" / _COMPLETE).exists():
        return "run python -m loadtest.peers.perf_analyzer"
    try:
        ctypes.CDLL("libb64.so.0d")
    except OSError:
        return "install Debian's package libb64-0d"
    return ""


def run(home: Path, options: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run it with `options` until it ends; its output is text."""
    venv = (home / "perf_analyzer").resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    cuda = venv / "lib" / version / "site-packages" / "nvidia" / "cuda_runtime" / "lib"
    return subprocess.run(
        [str(venv / "bin" / "perf_analyzer"), *options],
        env={**os.environ, "LD_LIBRARY_PATH": str(cuda)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


if __name__ == "__main__":
    print(install(bench_home()))
