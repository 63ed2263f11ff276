"""Holds a process to the threads of `replicas.cores`, whatever a model's libraries ask for.

What is limited is what runs, and not what an estimator says of itself: pools of BLAS and OpenMP,
and everything that joblib starts, at whatever depth of an estimator it is asked for.
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

    key: tuple[int, int, bool] | None = None


_held: Final = _Held()


def hold_cores(cores: int) -> None:
    """Let the calling thread and what it starts compute with `cores` threads at most.

    The first call of a thread, and the first one after a library was loaded, cost milliseconds;
    all others cost microseconds. Processes and threads that a model starts with its own hands are
    not limited.
    """
    if _held.key == (cores, libraries_loaded(), "joblib" in sys.modules):
        return
    limit_blas(cores)
    limit_openmp(cores)
    if "joblib" in sys.modules:
        from serving.models.execution import joblib_threads  # only where joblib is needed anyway

        joblib_threads.limit(cores)
    _held.key = (cores, libraries_when_looked(), "joblib" in sys.modules)
