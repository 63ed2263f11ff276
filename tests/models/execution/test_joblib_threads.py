"""What joblib is asked for becomes threads of this process, as many as it may have, one level."""

import os
import threading

import pytest
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import LokyBackend, MultiprocessingBackend, ThreadingBackend
from threadpoolctl import threadpool_info

from serving.models.execution.core_limit import hold_cores
from serving.models.execution.joblib_threads import limit
from serving.models.execution.thread_pools import limit_blas, limit_openmp

NAMES = ["loky", "multiprocessing", "threading"]
KINDS = [LokyBackend, MultiprocessingBackend, ThreadingBackend]


@pytest.fixture(autouse=True)
def _as_before():
    """What joblib may have is for the whole process, which here is that of other tests, too."""
    yield
    hold_cores(1)


def where():
    return os.getpid(), threading.get_ident()


HERE = os.getpid()


def at_once(count, **asked):
    """Run jobs of which each waits until `count` run; returns in how many threads they ran."""
    together = threading.Barrier(count)

    def job():
        together.wait(60)
        return where()

    found = Parallel(**asked)(delayed(job)() for _ in range(4 * count))
    assert {process for process, _ in found} == {HERE}
    return len({thread for _, thread in found})


@pytest.mark.parametrize(("asked", "has"), [(None, 1), (1, 1), (2, 2), (3, 3), (4, 3), (10**6, 3)])
def test_as_many_run_at_once_as_were_asked_for_and_may(asked, has):
    limit(3)
    assert effective_n_jobs(asked) == has
    assert at_once(has, n_jobs=asked) == has


@pytest.mark.parametrize("asked", [-1, -2, -(10**6)])
def test_all_cores_of_the_machine_are_no_more_than_it_may_have(asked, monkeypatch):
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda: 64)
    limit(2)
    assert effective_n_jobs(asked) == (2 if asked > -64 else 1)


def test_no_jobs_are_refused_as_joblib_does():
    limit(2)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        effective_n_jobs(0)


@pytest.mark.parametrize("backend", [None, *NAMES, *KINDS])
def test_processes_become_threads(backend):
    limit(2)
    made = backend() if isinstance(backend, type) else backend
    assert at_once(2, n_jobs=4, backend=made) == 2


@pytest.mark.parametrize("asked", [{"prefer": "processes"}, {"require": "sharedmem"}])
def test_what_is_wished_for_becomes_threads(asked):
    limit(2)
    assert at_once(2, n_jobs=4, **asked) == 2


@pytest.mark.parametrize("backend", [*NAMES, *KINDS])
@pytest.mark.parametrize(("cores", "asked"), [(1, 4), (2, 1)])
def test_one_job_at_a_time_needs_no_other_thread(backend, cores, asked):
    limit(cores)
    made = backend() if isinstance(backend, type) else backend
    found = Parallel(n_jobs=asked, backend=made)(delayed(where)() for _ in range(4))
    assert set(found) == {where()}


@pytest.mark.parametrize("inner", [{}, *({"backend": name} for name in NAMES)])
def test_what_is_nested_in_a_job_runs_in_its_thread(inner):
    limit(2)

    def nested():
        found = Parallel(n_jobs=8, **inner)(delayed(where)() for _ in range(4))
        return set(found) == {where()}

    assert all(Parallel(n_jobs=2)(delayed(nested)() for _ in range(4)))


def test_the_newest_limit_holds_in_both_directions():
    for cores in (1, 3, 2):
        limit(cores)
        assert effective_n_jobs(8) == cores
        assert at_once(cores, n_jobs=8) == cores


def test_what_is_nested_may_be_told_its_threads():
    limit(2)
    for name in NAMES:
        with parallel_config(name, inner_max_num_threads=1):
            assert at_once(2, n_jobs=2) == 2


def pools(api):
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == api}


def test_each_job_computes_alone():
    import torch  # noqa: F401 - brings an OpenMP

    limit(2)
    limit_blas(2)
    limit_openmp(2)
    found = Parallel(n_jobs=2)(delayed(lambda: (pools("blas"), pools("openmp")))() for _ in "ab")
    assert found == [({1}, {1})] * 2
    assert (pools("blas"), pools("openmp")) == ({2}, {2})


def test_openmp_is_limited_in_each_thread_that_takes_jobs(monkeypatch):
    # It keeps its limit per thread, and a new thread may have that of the machine.
    limited = []
    monkeypatch.setattr(
        "serving.models.execution.joblib_threads.limit_openmp",
        lambda threads: limited.append((threading.get_ident(), threads)),
    )
    limit(2)
    together = threading.Barrier(2)

    def job():
        together.wait(60)
        return threading.get_ident(), 1

    found = Parallel(n_jobs=2)(delayed(job)() for _ in range(4))
    assert sorted(limited) == sorted(set(found))


def test_blas_has_its_threads_back_after_jobs_that_failed():
    limit(2)

    def seen(fail):
        if fail:
            raise LookupError("no luck")
        return pools("blas")

    assert Parallel(n_jobs=2)(delayed(seen)(False) for _ in range(2)) == [{1}, {1}]
    with pytest.raises(LookupError):
        Parallel(n_jobs=2)(delayed(seen)(fail) for fail in (False, True))
    assert seen(False) == {2}


def test_results_come_in_order():
    limit(2)
    assert Parallel(n_jobs=2)(delayed(abs)(-number) for number in range(50)) == list(range(50))
