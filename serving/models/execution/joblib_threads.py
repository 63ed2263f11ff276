"""Has joblib run everything in threads of this process, and in no more than it may have.

Estimators ask joblib for processes (`n_jobs=-1` takes its default, loky), for the cores of the
machine, and once more in each of their parts. Here all of that becomes one level of threads; what
is nested in one of them runs in its turn.
"""

from __future__ import annotations

import threading
from multiprocessing.pool import ThreadPool
from typing import Any, Final

from joblib import register_parallel_backend
from joblib.parallel import (
    FallbackToBackend,
    LokyBackend,
    MultiprocessingBackend,
    SequentialBackend,
    ThreadingBackend,
)

from serving.models.execution.thread_pools import limit_blas, limit_openmp


class _Limits(threading.local):
    """How many jobs may run at once that this thread asks for, once it is one of joblib's."""

    own: int | None = None


_limits: Final = _Limits()
_cores = 1


def limit(cores: int) -> None:
    """Let joblib have `cores` threads at most from now on, in the whole process."""
    global _cores
    _cores = cores
    for name in ("loky", "multiprocessing", "threading"):
        register_parallel_backend(name, CoresBackend)
    # Also those that are not made by their names.
    for kind in (LokyBackend, MultiprocessingBackend, ThreadingBackend):
        kind.configure = _give_way


class CoresBackend(ThreadingBackend):  # type: ignore[misc]
    """As many threads as the process may compute with, each of which computes alone."""

    supports_inner_max_num_threads = True
    _pool: ThreadPool | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many of `n_jobs` run at once."""
        return min(int(super().effective_n_jobs(n_jobs)), _limits.own or _cores)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_asked: Any) -> int:
        """Make ready for a call and return how many jobs run at once.

        Raises:
            FallbackToBackend: it is one, which needs no other thread.
        """
        self._n_jobs = self.effective_n_jobs(n_jobs)
        if self._n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        return self._n_jobs

    def start_call(self) -> None:
        """Have BLAS, whose limit is that of the process, compute in the threads that call it."""
        limit_blas(1)

    def stop_call(self) -> None:
        """Let BLAS have threads of its own again."""
        limit_blas(_cores)

    def _get_pool(self) -> ThreadPool:
        if self._pool is None:
            self._pool = ThreadPool(self._n_jobs, _compute_alone)
        return self._pool


def _compute_alone() -> None:
    _limits.own = 1
    limit_openmp(1)


def _give_way(backend: Any, n_jobs: int = 1, **_asked: Any) -> int:
    raise FallbackToBackend(CoresBackend(nesting_level=backend.nesting_level))
