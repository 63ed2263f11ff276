"""Who is computed and who is not, through the real front: leaving, taking turns, priorities."""

import concurrent.futures
import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import yaml

pytestmark = pytest.mark.e2e
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
    models = make_lab(hang_timeout_s=120)
    path = models / "lab" / "model.yaml"
    config = yaml.safe_load(path.read_text())
    config["replicas"]["max_inflight_batches"] = 1
    config["batching"] = {"max_batch_size": 2, "priority_levels": 2}
    path.write_text(yaml.safe_dump(config))
    with running(models, tmp_path_factory.mktemp("one"), request.param) as instance:
        yield instance


def body(rows: int, gate: Any = None, **parameters: Any) -> bytes:
    """Return a request that stops at `gate`, if one is given."""
    data = [[1.0, gate.row if gate else 0.0, 0.0, 0.0]] * rows
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
        "POST /v2/models/lab/infer HTTP/1.1\r\nhost: localhost\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


@pytest.fixture
def queued(one_slot: Any, eventually: Any) -> Callable[[int], None]:
    """Waits until so many rows wait in the gateway."""

    def wait(rows: int) -> None:
        now = lambda: one_slot.metric("vigil_queue_rows", model="lab")  # noqa: E731
        eventually(f"{rows} rows wait", lambda: now() == rows)

    return wait


def test_who_leaves_after_the_whole_body_is_not_computed(
    one_slot: Any, eventually: Any, queued: Any, close_gate: Any
) -> None:
    instance = one_slot

    def abandoned() -> float:
        return instance.metric("vigil_queue_rows_abandoned_total", model="lab", reason="disconnect")

    instance.settle()
    before, before_abandoned = instance.statistics("lab")["inference_count"], abandoned()
    x = tritonclient.grpc.InferInput("x", [3, 4], "FP32")
    x.set_data_from_numpy(np.ones((3, 4), np.float32) * 0)
    gate = close_gate(instance)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(post, instance, body(1, gate))
        eventually("the slot", gate.reached)
        connections = [leave(instance, body(5)) for _ in range(2)]
        client = tritonclient.grpc.InferenceServerClient(instance.grpc)
        call = client.async_infer("lab", [x], lambda result, error: None)
        stays = pool.submit(post, instance, body(2))
        queued(15)
        for connection in connections:
            connection.close()
        call.cancel()
        # Although the slot is still taken: nobody waits until it is their turn.
        eventually("they are gone", lambda: abandoned() - before_abandoned == 13)
        queued(2)
        gate.open()
        assert slow.result()[0] == stays.result()[0] == 200
    client.close()
    assert instance.statistics("lab")["inference_count"] - before == 3
    requests = {"model": "lab", "outcome": "abandoned"}
    eventually("3", lambda: instance.metric("vigil_inference_requests_total", **requests) >= 3)


def test_a_flood_does_not_starve_another_address_whatever_headers_say(
    one_slot: Any, eventually: Any, queued: Any, close_gate: Any
) -> None:
    instance = one_slot
    first, second = close_gate(instance, 1), close_gate(instance, 2)

    def ask(address: str, number: int, gate: Any) -> int:
        headers = {"x-forwarded-for": f"10.0.0.{number}", "x-real-ip": f"10.0.1.{number}"}
        return post(instance, body(2, gate), address, headers)[0]

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        slow = pool.submit(post, instance, body(1, first))
        eventually("the slot", first.reached)
        flood = [pool.submit(ask, "127.0.0.1", n, None) for n in range(10)]
        queued(20)
        rest = [pool.submit(ask, "127.0.0.1", n, second) for n in range(10, 40)]
        queued(80)
        others = [pool.submit(ask, "127.0.0.2", n, None) for n in range(3)]
        queued(86)
        first.open()
        # By arrival they would be the last of 43, behind thirty that stop; in turns they are not.
        assert [task.result() for task in others] == [200] * 3
        assert not any(task.done() for task in rest)
        second.open()
        assert {task.result() for task in [*flood, *rest]} == {200}
        assert slow.result()[0] == 200


def test_priorities_over_both_protocols(
    one_slot: Any, eventually: Any, queued: Any, close_gate: Any
) -> None:
    instance = one_slot
    first, second = close_gate(instance, 1), close_gate(instance, 2)
    client = tritonclient.grpc.InferenceServerClient(instance.grpc)
    x = tritonclient.grpc.InferInput("x", [2, 4], "FP32")
    x.set_data_from_numpy(np.ones((2, 4), np.float32) * 0)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        slow = pool.submit(post, instance, body(1, first))
        eventually("the slot", first.reached)
        lows = [pool.submit(post, instance, body(2, second, priority=n % 2 * 2)) for n in range(20)]
        queued(40)
        urgent = [
            pool.submit(client.infer, "lab", [x], priority=1, client_timeout=60),
            pool.submit(post, instance, body(2, priority=1)),
        ]
        queued(44)
        first.open()
        for task in urgent:
            task.result()
        assert not any(task.done() for task in lows)
        second.open()
        assert {task.result()[0] for task in lows} == {slow.result()[0]} == {200}
    client.close()
    for wrong in (3, -1, "1", 1.5, True):
        status, answer = post(instance, body(1, priority=wrong))
        assert status == 400
        assert "priority" in answer["error"]


def test_a_request_of_many_batches_is_one_request(one_slot: Any) -> None:
    instance = one_slot
    before = instance.statistics("lab")
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

    now = instance.statistics("lab")
    requests = [found["inference_stats"]["success"]["count"] for found in (before, now)]
    assert requests[1] - requests[0] == 5
    assert now["inference_count"] - before["inference_count"] == 105
    assert now["execution_count"] - before["execution_count"] == 51 + 4
    assert max(size["batch_size"] for size in now["batch_stats"]) == 2
