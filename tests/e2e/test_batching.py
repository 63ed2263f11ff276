"""Batching is invisible: everybody gets what they would get alone, and only the poison fails."""

import concurrent.futures
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]  # Ray may take long to start
POISON = 666.0


def request_rows(generator: np.random.Generator, rows: int) -> np.ndarray:
    data = generator.normal(0, 3, (rows, 4)).astype(np.float32)
    data[:, 1] = 0
    return data


def send(instance: Any, data: np.ndarray, **more: Any) -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": list(data.shape)}
    return instance.infer("lab", [{**tensor, "data": data.ravel().tolist()}], **more)


def outputs(answer: Any, rows: int) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(rows, 3)


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """Return the largest distance in units in the last place between positive float32 arrays."""
    return int(np.abs(a.view(np.int32).astype(np.int64) - b.view(np.int32)).max())


def test_mixed_requests_and_one_poison_get_what_they_would_get_alone(instance: Any) -> None:
    generator = np.random.default_rng(7)
    payloads = [request_rows(generator, 1 + index % 5) for index in range(40)]
    alone = [outputs(send(instance, data), len(data)) for data in payloads]
    poison = request_rows(generator, 2)
    poison[1, 0] = POISON
    blockers = [np.array([[0, 400, 0, 0]], np.float32) for _ in range(2)]
    before = instance.metric("vigil_batch_rows_bucket", model="lab", le="4.0")
    before_all = instance.metric("vigil_batch_rows_count", model="lab")
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        # Two slow batches take both slots, so that everything else must wait and meet.
        slow = [pool.submit(send, instance, data) for data in blockers]
        tasks = []
        for index, data in enumerate(payloads):
            if index == 20:
                bad = pool.submit(send, instance, poison)
            more = {"id": f"r{index}", "outputs": [{"name": "y"}]} if index % 2 else {}
            tasks.append(pool.submit(send, instance, data, **more))
        answers = [task.result() for task in tasks]
        failed = bad.result()
        assert all(task.result().status_code == 200 for task in slow)
    assert failed.status_code == 500
    assert "poison row" in failed.json()["error"]
    for index, (data, want, answer) in enumerate(zip(payloads, alone, answers, strict=True)):
        assert ulps(outputs(answer, len(data)), want) <= 8
        if index % 2:
            assert answer.json()["id"] == f"r{index}"

    def batches_of_eight_rows() -> bool:
        small = instance.metric("vigil_batch_rows_bucket", model="lab", le="4.0") - before
        return instance.metric("vigil_batch_rows_count", model="lab") - before_all > small

    # Counters arrive with the next report of the gateway.
    import vigil_e2e_instance

    vigil_e2e_instance.eventually("a batch of 8 rows or more", batches_of_eight_rows, 10)
