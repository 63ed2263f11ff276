"""Batching is invisible: everybody gets what they would get alone, and only the poison fails."""

import concurrent.futures
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.e2e
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


def test_mixed_requests_and_one_poison_get_what_they_would_get_alone(
    instance: Any, eventually: Any, close_gate: Any
) -> None:
    generator = np.random.default_rng(7)
    payloads = [request_rows(generator, 1 + index % 5) for index in range(40)]
    alone = [outputs(send(instance, data), len(data)) for data in payloads]
    poison = request_rows(generator, 2)
    poison[1, 0] = POISON
    rows = sum(map(len, payloads))
    before = batches(instance, rows)
    gate = close_gate(instance)
    blocker = np.array([[0, gate.row, 0, 0]], np.float32)

    def waits(metric: str, value: int) -> None:
        eventually(f"{metric} {value}", lambda: instance.metric(metric, model="lab") == value)

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        # Two batches stand in both slots until everything else waits, and has to meet.
        slow = [pool.submit(send, instance, blocker, timeout_s=100)]
        eventually("the first slot", gate.reached)
        waits("vigil_replica_slots_used", 1)
        slow.append(pool.submit(send, instance, blocker, timeout_s=100))
        waits("vigil_replica_slots_used", 2)
        tasks = []
        for index, data in enumerate(payloads):
            if index == 20:
                bad = pool.submit(send, instance, poison, timeout_s=100)
            more = {"id": f"r{index}", "outputs": [{"name": "y"}]} if index % 2 else {}
            tasks.append(pool.submit(send, instance, data, timeout_s=100, **more))
        waits("vigil_queue_rows", rows + len(poison))
        gate.open()
        answers = [task.result() for task in tasks]
        failed = bad.result()
        assert all(task.result().status_code == 200 for task in slow)
    assert failed.status_code == 500
    assert "poison row" in failed.json()["error"]
    for index, (data, want, answer) in enumerate(zip(payloads, alone, answers, strict=True)):
        assert ulps(outputs(answer, len(data)), want) <= 8
        if index % 2:
            assert answer.json()["id"] == f"r{index}"
    # One batch had all that waited; the one that failed is not counted.
    assert batches(instance, rows) == before + 1


def batches(instance: Any, rows: int) -> int:
    """Return how many batches of so many rows there have been."""
    sizes = instance.statistics("lab")["batch_stats"]
    return sum(size["compute_infer"]["count"] for size in sizes if size["batch_size"] == rows)
