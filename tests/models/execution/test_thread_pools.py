"""Pools of BLAS and OpenMP: which are found, when they are looked for, and how they are limited."""

import subprocess
import sys
import threading

import pytest
from threadpoolctl import threadpool_info

from serving.models.execution import thread_pools
from serving.models.execution.thread_pools import (
    libraries_loaded,
    libraries_when_looked,
    limit_blas,
    limit_openmp,
)


@pytest.fixture(autouse=True)
def _as_before():
    """Limits are for the whole process, which here is that of other tests, too."""
    yield
    limit_blas(1)
    limit_openmp(1)


class Library:
    """A library with a pool, as threadpoolctl shows it; GNU's OpenMP has an entry for teams."""

    def __init__(self, api, has_teams=False):
        self.user_api = api
        self.said = []
        self.dynlib = object()
        if has_teams:
            self.dynlib = type("Gomp", (), {"GOMP_teams": staticmethod(self._teams)})()

    def set_num_threads(self, threads):
        self.said.append(threads)

    def _teams(self, teams, limit):
        self.said.append(("teams", teams.value, limit.value))


@pytest.fixture
def found(monkeypatch):
    """Arranges which libraries are found; how many were loaded is counted up by hand."""

    class Found:
        looked = 0
        loaded = -2
        libraries = ()

        def __call__(self):
            self.looked += 1
            self.loaded += self.loads_itself
            self.lib_controllers = list(self.libraries)
            return self

        loads_itself = 0

    arranged = Found()
    monkeypatch.setattr(thread_pools, "ThreadpoolController", arranged)
    monkeypatch.setattr(thread_pools, "libraries_loaded", lambda: arranged.loaded)
    return arranged


def pools(api):
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == api}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_blas_has_as_many_threads_as_it_may(threads):
    limit_blas(threads)
    assert pools("blas") == {threads}


@pytest.mark.parametrize("threads", [1, 3])
def test_openmp_has_as_many_threads_as_it_may_in_this_thread_alone(threads):
    import torch  # noqa: F401 - brings an OpenMP

    limit_openmp(2)
    elsewhere = []

    def work():
        limit_openmp(threads)
        elsewhere.append(pools("openmp"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert elsewhere == [{threads}]
    assert pools("openmp") == {2}


def test_each_limits_the_libraries_of_its_kind(found):
    blas, openmp, other = Library("blas"), Library("openmp"), Library("other")
    found.libraries = (openmp, blas, other, second := Library("blas"))
    limit_blas(4)
    limit_openmp(3)
    assert (blas.said, second.said, openmp.said, other.said) == ([4], [4], [3], [])


def test_loops_that_name_a_number_themselves_are_limited_in_gnus_openmp(found):
    gnu, intel, blas = Library("openmp", True), Library("openmp"), Library("blas", True)
    found.libraries = (gnu, intel, blas)
    limit_openmp(2)
    limit_blas(1)
    assert gnu.said == [2, ("teams", 1, 2)]
    assert intel.said == [2]
    assert blas.said == [1]


def test_they_are_looked_for_again_only_where_one_was_loaded_since(found):
    for _ in range(3):
        limit_blas(1)
        limit_openmp(1)
    assert (found.looked, libraries_when_looked()) == (1, found.loaded)
    found.loaded += 1
    found.libraries = [late := Library("openmp")]
    for _ in range(3):
        limit_blas(1)
        limit_openmp(1)
    assert (found.looked, libraries_when_looked()) == (2, found.loaded)
    assert late.said == [1] * 3


def test_what_looking_loads_itself_is_no_reason_to_look_again(found):
    found.loads_itself = 2
    for _ in range(3):
        limit_blas(1)
    assert found.looked == 1
    assert libraries_when_looked() == found.loaded


def test_a_library_that_is_loaded_counts():
    code = (
        "import ctypes; from serving.models.execution.thread_pools import libraries_loaded\n"
        "before = libraries_loaded(); assert libraries_loaded() == before\n"
        "import _decimal; assert libraries_loaded() > before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_some_libraries_are_there():
    assert libraries_loaded() > 1
