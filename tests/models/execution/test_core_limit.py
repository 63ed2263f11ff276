import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from joblib import Parallel, delayed, effective_n_jobs
from threadpoolctl import threadpool_info, threadpool_limits

from serving.models.execution import core_limit, thread_pools
from serving.models.execution.core_limit import hold_cores, hold_torch

SCRIPT = Path(__file__).with_name("estimators_at_work.py")
CORES = [1, 2]


@pytest.fixture(autouse=True)
def _as_before():
    """What a model may have is for the whole process, which here is that of other tests, too."""
    yield
    hold_cores(1)


@pytest.fixture(scope="module")
def at_work(tmp_path_factory):
    """What was at work, by the cores that a model may have, and what was said about it."""
    pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")
    # BLAS and OpenMP would take as much as this unless they were limited later.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "8", "OMP_NUM_THREADS": "8"}
    said = subprocess.run(
        [sys.executable, SCRIPT, tmp_path_factory.mktemp("estimators"), *map(str, CORES)],
        env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(said.stdout), said.stderr


@pytest.mark.long  # every estimator of scikit-learn, in three processes
@pytest.mark.parametrize("cores", CORES)
def test_estimators_that_ask_for_more_get_their_cores(cores, at_work):
    by_cores, errors = at_work
    found = by_cores[str(cores)]
    assert len(found) > 20
    over = {
        name: seen
        for name, seen in found.items()
        if not seen
        or seen["threads"] > cores
        or seen["too many in pools"]
        or seen["processes"]
        or seen["pools"] != [cores]
    }
    assert not over, errors
    assert max(seen["threads"] for seen in found.values()) == cores


def test_jobs_share_the_cores_they_have():
    hold_cores(2)
    both = threading.Barrier(2)
    assert effective_n_jobs(8) == 2
    waits = (delayed(both.wait)(60) for _ in range(2))
    assert sorted(Parallel(n_jobs=8)(waits)) == [0, 1]  # neither would return alone
    hold_cores(1)
    assert effective_n_jobs(8) == 1


def test_each_thread_is_held():
    hold_cores(1)
    found = []

    def openmp():
        threads = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp"]
        return set(threads)

    def work():
        with threadpool_limits(3, user_api="openmp"):  # as where nothing limits a new thread
            hold_cores(1)
            found.append(openmp())

    import torch  # noqa: F401 - brings an OpenMP

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [{1}]


LATE_TORCH = """
import sys
from serving.models.execution.core_limit import hold_cores
hold_cores(2)
assert "torch" not in sys.modules
import torch
hold_cores(2)
print(torch.get_num_threads())
"""


def test_torch_is_held_where_a_model_imports_it_late():
    env = {**os.environ, "OMP_NUM_THREADS": "8"}
    said = subprocess.run(
        [sys.executable, "-c", LATE_TORCH], env=env, capture_output=True, text=True
    )
    assert said.stdout.strip() == "2", said.stderr


def test_torch_is_held_only_where_it_is(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "set_num_threads", (told := []).append)
    hold_torch(3)
    monkeypatch.delitem(sys.modules, "torch")
    hold_torch(4)
    assert told == [3]
    assert "torch" not in sys.modules


def test_libraries_are_looked_for_when_one_was_loaded(monkeypatch):
    hold_cores(1)
    looked = []

    def look():
        looked.append(1)
        return real()

    real = thread_pools.ThreadpoolController
    monkeypatch.setattr(thread_pools, "ThreadpoolController", look)
    for _ in range(100):
        hold_cores(1)
    assert not looked
    held = thread_pools.libraries_loaded()
    for module in (core_limit, thread_pools):
        monkeypatch.setattr(module, "libraries_loaded", lambda: held + 1)
    for _ in range(100):
        hold_cores(1)
    assert len(looked) == 1
