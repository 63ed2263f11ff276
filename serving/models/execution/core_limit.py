"""Holds a process to the threads of `replicas.cores`, whatever a model's libraries ask for.

What is limited is what runs, and not what an estimator says of itself: pools of BLAS and OpenMP,
torch, and everything that joblib starts, at whatever depth of an estimator it is asked for.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

from serving.models.execution.thread_pools import (
    libraries_loaded,
    libraries_when_looked,
    limit_blas,
    limit_openmp,
)


class _Held(threading.local):
    """What a thread was limited to, and what was there then: OpenMP keeps a limit per thread."""

    key: tuple[int, int, bool, bool] | None = None


_held: Final = _Held()


def hold_cores(cores: int) -> None:
    """Let the calling thread and what it starts compute with `cores` threads at most.

    The first call of a thread, and the first one after a library was loaded, cost milliseconds;
    all others cost microseconds. Processes and threads that a model starts with its own hands are
    not limited.
    """
    if _held.key == (cores, libraries_loaded(), "joblib" in sys.modules, "torch" in sys.modules):
        return
    hold_torch(cores)
    limit_blas(cores)
    limit_openmp(cores)
    if "joblib" in sys.modules:
        from serving.models.execution import joblib_threads  # only where joblib is needed anyway

        joblib_threads.limit(cores)
    loaded = libraries_when_looked()
    _held.key = (cores, loaded, "joblib" in sys.modules, "torch" in sys.modules)


def hold_torch(cores: int) -> None:
    """Let torch compute with `cores` threads at most, if anything in this process has imported it.

    In each thread torch takes a core for each that the machine has, unless it was told before.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(cores)
