"""Requests that end their replica: they alone fail, and only once."""

import concurrent.futures
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.e2e

HANG_S = 3.0


@pytest.fixture(scope="module")
def lab(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    models = make_lab(replicas=2, hang_timeout_s=HANG_S)
    with running(models, tmp_path_factory.mktemp("deadly"), gateways=2) as instance:
        yield instance


def row(values: list[float]) -> dict[str, Any]:
    shape = [len(values) // 4, 4]
    return {"name": "x", "datatype": "FP32", "shape": shape, "data": values}


@contextlib.contextmanager
def load(instance: Any, clients: int = 8) -> Iterator[Callable[[], int]]:
    """Innocent clients meanwhile; none may get anything but its right answer."""
    rows = [[float(i % 7), 2.0, float(i % 5), 1.0] for i in range(35)]
    expected = [instance.infer("lab", [row(each)]).json()["outputs"][0]["data"] for each in rows]
    stop = threading.Event()
    counts, wrong = [0] * clients, []

    def client(number: int) -> None:
        index = number
        while not stop.wait(0.02):
            answer = instance.infer("lab", [row(rows[index % 35])], timeout_s=60)
            if answer.status_code != 200:
                wrong.append(answer.text)
            elif not np.allclose(
                answer.json()["outputs"][0]["data"], expected[index % 35], rtol=1e-5
            ):
                wrong.append("another's answer")
            counts[number] += 1
            index += 1

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        tasks = [pool.submit(client, number) for number in range(clients)]
        try:
            yield lambda: sum(counts)
        finally:
            stop.set()
        for task in tasks:
            task.result()
    assert not wrong, wrong[:3]


@pytest.mark.parametrize(
    ("values", "said", "deaths"),
    [
        ([667.0, 0.0, 0.0, 1.0], "ended with exit code 3", 2),
        ([668.0, 0.0, 0.0, 2.0], "ended with signal 11", 2),
        ([669.0, 0.0, 0.0, 3.0], "ended with signal 9", 4),
        ([0.0, 600_000.0, 0.0, 4.0], "took too long and was replaced", 2),
    ],
    ids=["exit", "segfault", "kill", "hang"],
)
def test_only_the_request_that_ends_replicas_fails(
    lab: Any, eventually: Any, values: list[float], said: str, deaths: int
) -> None:
    eventually("both replicas", lambda: lab.linked("lab", 2))
    lab.settle()
    before = lab.metric("vigil_replica_restarts_total", model="lab")
    with load(lab) as count:
        eventually("load", lambda: count() > 50)
        answer = lab.infer("lab", [row(values)], timeout_s=120)
        assert answer.status_code == 500, answer.text
        assert f"of model 'lab' that computed this request {said}" in answer.json()["error"]
        eventually("both replicas again", lambda: lab.linked("lab", 2))
        seen = count()
        eventually("more load", lambda: count() > seen + 50)
    lab.settle()
    restarts = lab.metric("vigil_replica_restarts_total", model="lab") - before
    assert 1 <= restarts <= deaths


def test_nobody_fails_while_all_replicas_are_replaced_at_once(lab: Any, eventually: Any) -> None:
    # As where each gateway searches by itself, and one has not met the replacements of another.
    eventually("both replicas", lambda: lab.linked("lab", 2))
    with load(lab) as count:
        eventually("load", lambda: count() > 50)
        killed = {member["pid"] for member in lab.members("replica")}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        eventually(
            "two others",
            lambda: len({m["pid"] for m in lab.members("replica")} - killed) == 2,
        )
        eventually("both replicas again", lambda: lab.linked("lab", 2))
        seen = count()
        eventually("more load", lambda: count() > seen + 50)


def test_a_retry_is_answered_at_once_over_grpc_too(lab: Any, eventually: Any) -> None:
    values = [667.0, 0.0, 0.0, 77.0]
    tensor = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([values], np.float32))
    eventually("both replicas", lambda: lab.linked("lab", 2))
    with tritonclient.grpc.InferenceServerClient(lab.grpc) as client:
        with pytest.raises(InferenceServerException, match="computed this request") as caught:
            client.infer("lab", [tensor])
        assert caught.value.status() == str(grpc.StatusCode.INTERNAL)
        eventually("both replicas", lambda: lab.linked("lab", 2))
        pids = {member["pid"] for member in lab.members("replica")}
    for _ in range(8):  # each on a new connection: either gateway may take it
        with (
            tritonclient.grpc.InferenceServerClient(lab.grpc) as client,
            pytest.raises(InferenceServerException, match="computed the same inputs"),
        ):
            client.infer("lab", [tensor])
    assert {member["pid"] for member in lab.members("replica")} == pids
    lines = [line for line in lab.log.read_text().splitlines() if '"query_of_death"' in line]
    assert lines
    assert lab.infer("lab", [row([1.0, 0.0, 0.0, 77.0])]).status_code == 200
