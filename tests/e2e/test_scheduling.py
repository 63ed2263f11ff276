"""Who is computed and who is not, through the real front: leaving, taking turns, priorities."""

import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]  # Ray may take long to start
# Gateways schedule, whoever started them; each start of Ray takes long.
ENGINES = ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))]


@pytest.fixture(scope="module", params=ENGINES)
def one_slot(
    request: pytest.FixtureRequest,
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """An instance whose replica takes one batch of at most two rows at a time."""
    models = make_lab()
    path = models / "lab" / "model.yaml"
    config = yaml.safe_load(path.read_text())
    config["replicas"]["max_inflight_batches"] = 1
    config["batching"] = {"max_batch_size": 2, "priority_levels": 2}
    path.write_text(yaml.safe_dump(config))
    with running(models, tmp_path_factory.mktemp("one"), request.param) as instance:
        yield instance


def body(rows: int, sleep_ms: float = 0, **parameters: Any) -> bytes:
    data = [[1.0, sleep_ms, 0.0, 0.0]] * rows
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": data}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def post(
    instance: Any, content: bytes, address: str = "127.0.0.1", headers: Any = None
) -> tuple[int, Any]:
    """Ask from an address of this host; quicker to begin than a client that knows more."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", instance.http_port, timeout=60, source_address=(address, 0)
    )
    with contextlib.closing(connection):
        connection.request("POST", "/v2/models/lab/infer", content, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def leave(instance: Any, content: bytes) -> socket.socket:
    """Send a whole request; closing what is returned is leaving."""
    connection = socket.create_connection(("127.0.0.1", instance.http_port))
    head = (
        f"POST /v2/models/lab/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def test_who_leaves_after_the_whole_body_is_not_computed(one_slot: Any, eventually: Any) -> None:
    instance = one_slot

    def rows() -> float:
        return instance.metric("vigil_inference_rows_total", model="lab")

    def abandoned() -> float:
        return instance.metric("vigil_queue_rows_abandoned_total", model="lab", reason="disconnect")

    before, before_abandoned = rows(), abandoned()
    x = tritonclient.grpc.InferInput("x", [3, 4], "FP32")
    x.set_data_from_numpy(np.ones((3, 4), np.float32) * 0)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Long enough for several rounds of metrics, each a second or more old.
        slow = pool.submit(post, instance, body(1, 15_000))
        eventually("the slot", lambda: instance.metric("vigil_replica_slots_used", model="lab"))
        connections = [leave(instance, body(5)) for _ in range(2)]
        client = tritonclient.grpc.InferenceServerClient(instance.grpc)
        call = client.async_infer("lab", [x], lambda result, error: None)
        stays = pool.submit(post, instance, body(2))
        eventually("15 rows", lambda: instance.metric("vigil_queue_rows", model="lab") == 15)
        for connection in connections:
            connection.close()
        call.cancel()
        eventually("they are gone", lambda: abandoned() - before_abandoned == 13)
        assert not slow.done()  # nobody waited until it was their turn
        assert slow.result()[0] == stays.result()[0] == 200
    client.close()
    eventually("three rows", lambda: rows() - before == 3)
    outcomes = {"model": "lab", "outcome": "abandoned"}
    assert instance.metric("vigil_inference_requests_total", **outcomes) >= 3


def test_a_flood_does_not_starve_another_address_whatever_headers_say(
    one_slot: Any, eventually: Any
) -> None:
    instance = one_slot
    order: list[str] = []
    lock = threading.Lock()

    def ask(name: str, address: str, number: int) -> int:
        headers = {"x-forwarded-for": f"10.0.0.{number}", "x-real-ip": f"10.0.1.{number}"}
        status, _ = post(instance, body(2, 20), address, headers)
        with lock:
            order.append(name)
        return status

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        slow = pool.submit(post, instance, body(1, 8000))
        eventually("the slot", lambda: instance.metric("vigil_replica_slots_used", model="lab"))
        flood = [pool.submit(ask, "flood", "127.0.0.1", n) for n in range(40)]
        eventually("the flood", lambda: instance.metric("vigil_queue_rows", model="lab") >= 80)
        others = [pool.submit(ask, "other", "127.0.0.2", n) for n in range(3)]
        assert {task.result() for task in [*flood, *others]} == {200}
        assert slow.result()[0] == 200
    # By arrival they would be the last three of 43; in turns they are among the first dozen.
    assert [name for name in order[:20] if name == "other"] == ["other"] * 3


def test_priorities_over_both_protocols(one_slot: Any, eventually: Any) -> None:
    instance = one_slot
    order: list[str] = []
    client = tritonclient.grpc.InferenceServerClient(instance.grpc)
    x = tritonclient.grpc.InferInput("x", [2, 4], "FP32")
    x.set_data_from_numpy(np.ones((2, 4), np.float32) * 0)

    def low(content: bytes) -> int:
        status, _ = post(instance, content)
        order.append("low")
        return status

    def high() -> None:
        client.infer("lab", [x], priority=1)
        order.append("high")

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        slow = pool.submit(post, instance, body(1, 8000))
        eventually("the slot", lambda: instance.metric("vigil_replica_slots_used", model="lab"))
        lows = [pool.submit(low, body(2, 20, priority=n % 2 * 2)) for n in range(20)]
        eventually("them", lambda: instance.metric("vigil_queue_rows", model="lab") >= 40)
        urgent = pool.submit(high)
        urgent.result()
        assert {task.result() for task in lows} == {slow.result()[0]} == {200}
    client.close()
    assert order.index("high") < 10
    for wrong in (3, -1, "1", 1.5, True):
        status, answer = post(instance, body(1, priority=wrong))
        assert status == 400
        assert "priority" in answer["error"]


def test_a_request_of_many_batches_is_one_request(one_slot: Any, eventually: Any) -> None:
    instance = one_slot

    def ok() -> float:
        return instance.metric("vigil_inference_requests_total", model="lab", outcome="ok")

    before = ok()
    rows = np.zeros((101, 4), np.float32)
    rows[:, 2] = np.arange(101) / 100
    tensor = {"name": "x", "datatype": "FP32", "shape": [101, 4], "data": rows.tolist()}
    whole = post(instance, json.dumps({"inputs": [tensor]}).encode())[1]["outputs"][0]
    assert whole["shape"] == [101, 3]
    got = np.array(whole["data"]).reshape(101, 3)
    for index in (0, 1, 50, 100):
        one = {**tensor, "shape": [1, 4], "data": rows[index].tolist()}
        alone = post(instance, json.dumps({"inputs": [one]}).encode())[1]["outputs"][0]["data"]
        assert np.allclose(got[index], alone, atol=1e-6)

    eventually("five requests", lambda: ok() == before + 5)
