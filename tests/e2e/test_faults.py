"""Processes die, hang and are told to stop; clients must not notice, or be told clearly."""

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc

from serving.config import load_model
from serving.models.profile.dataset import read_dataset

pytestmark = pytest.mark.e2e

# Each start of Ray takes long, and test_ray.py has the death of an only replica.
RARELY_RAY = ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))]


def direct(test: Any) -> Any:
    """Run a test on the instances of both engines whose gateways listen themselves."""
    for other in ("envoy", "serve"):
        test = pytest.mark.not_on(other, reason="what it proves, the direct ingress decides")(test)
    return test


def body(row: list[float]) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


@direct
def test_kill_of_one_of_two_replicas_fails_nothing(
    instance: Any, demo_root: Path, eventually: Any
) -> None:
    url = f"{instance.url}/v2/models/digits/infer"
    folder = demo_root / "digits"
    images = read_dataset(folder / "1" / "test.parquet", load_model(folder)).inputs["image"][:35]
    bodies = [image_body(image) for image in images]
    expected = [httpx.post(url, content=each, timeout=60).json() for each in bodies]
    expected = [answer["outputs"][0]["data"] for answer in expected]
    assert len({tuple(answer) for answer in expected}) > 20
    eventually("both replicas", lambda: instance.linked("digits", 2))
    stop, replacing = threading.Event(), threading.Event()
    wrong: list[str] = []
    counts = [0] * 8

    def client(number: int) -> None:
        with httpx.Client(timeout=60) as http:
            index, took_s = number, 0.0
            # Not as fast as it goes: a replacement needs the processor too. The slower the machine,
            # the more of it a request takes, so the pause grows with what one takes.
            while not stop.wait(max(0.2, 20 * took_s) if replacing.is_set() else 0.01):
                asked = time.monotonic()
                answer = http.post(url, content=bodies[index % len(bodies)])
                took_s = time.monotonic() - asked
                right = expected[index % len(bodies)]
                if answer.status_code != 200:
                    wrong.append(answer.text)
                elif not np.allclose(
                    answer.json()["outputs"][0]["data"], right, rtol=1e-4, atol=1e-6
                ):
                    wrong.append(f"row {index % len(bodies)} got another answer")
                counts[number] += 1
                index += 1

    def pids() -> list[int]:
        return [each["pid"] for each in instance.members("replica") if each["model"] == "digits"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(client, number) for number in range(8)]
        try:
            for _ in range(2):
                seen = sum(counts)
                eventually("200 requests", lambda seen=seen: sum(counts) > seen + 200)
                assert len(pids()) == 2
                victim = pids()[0]
                os.kill(victim, signal.SIGKILL)
                seen = sum(counts)
                eventually("200 more", lambda seen=seen: sum(counts) > seen + 200)

                def replaced(victim: int = victim) -> bool:
                    return victim not in pids() and instance.linked("digits", 2)

                replacing.set()
                eventually("a replacement", replaced)
                replacing.clear()
        finally:
            stop.set()
        for task in tasks:
            task.result()
    assert not wrong, wrong[:3]
    assert sum(counts) >= 800


def image_body(image: np.ndarray) -> bytes:
    shape = [1, *image.shape]
    tensor = {"name": "image", "datatype": "FP32", "shape": shape, "data": image.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


@direct
def test_gateway_process_has_neither_torch_nor_ray(instance: Any) -> None:
    # With Ray there is an actor beside each gateway, and it is a gateway for Serve's own proxy.
    members = [m for m in instance.members("gateway") if not m["id"].endswith("-serve")]
    assert members
    pids = {member["pid"] for member in members}
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in pids]
    fronts = [text for text in maps if "uvloop" in text or "_pyvoy" in text]
    assert fronts, "no gateway process has an event loop of its own"
    for text in fronts:
        for library in ("libtorch", "ray/_raylet", "pandas/", "scipy/"):
            assert library not in text


@direct
def test_explicit_deadline_holds_while_the_queue_is_blocked(
    instance: Any, eventually: Any, close_gate: Any
) -> None:
    url = f"{instance.url}/v2/models/lab/infer"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 0.0, 0.0, 0.0]}
    quick = json.dumps({"inputs": [tensor], "parameters": {"timeout": 300_000}})
    # First, since a replica that warms up may try the gate's row too.
    eventually("its replica is linked", lambda: instance.linked("lab", 1))
    gate = close_gate(instance)
    stopped = body([0.0, gate.row, 0.0, 0.0])

    def used(slots: int) -> bool:
        return instance.metric("vigil_replica_slots_used", model="lab") == slots

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = []
        try:
            # One after the other, or they would share a batch and so a slot. That a quick request
            # is late would not tell: on a busy machine it may be with a slot free.
            for slots in (1, 2):
                slow.append(pool.submit(httpx.post, url, content=stopped, timeout=150))
                eventually(f"{slots} of 2 slots are used", lambda slots=slots: used(slots))
            # Until the gate opens only its deadline ends it.
            assert httpx.post(url, content=quick, timeout=60).status_code == 504
            assert not any(task.done() for task in slow)
        finally:
            gate.open()
        assert all(task.result().status_code == 200 for task in slow)


@pytest.mark.parametrize("engine", RARELY_RAY)
def test_only_replica_killed_gives_503_until_it_is_back(
    engine: str,
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path: Path,
    eventually: Any,
) -> None:
    with running(make_lab(), tmp_path, engine) as instance:
        url = f"{instance.url}/v2/models/lab/infer"
        row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.0] * 4}
        soon = json.dumps({"inputs": [row], "parameters": {"timeout": 1_000_000}})

        def refused() -> bool:
            # What was admitted before anybody knew waits for the replacement, here for a second.
            answer = httpx.post(url, content=soon, timeout=60)
            if answer.status_code in (200, 504):
                return False
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "no replica of model 'lab'" in answer.json()["error"]
            return True

        with no_new_replica(instance):
            os.kill(instance.members("replica")[0]["pid"], signal.SIGKILL)
            eventually("503", refused)
            assert httpx.get(f"{instance.url}/v2/health/live", timeout=60).status_code == 200
        eventually(
            "it is back",
            lambda: httpx.post(url, content=body([0.0] * 4), timeout=60).status_code == 200,
        )
        answers = [httpx.post(url, content=body([0.0] * 4), timeout=60) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}


@contextlib.contextmanager
def no_new_replica(instance: Any) -> Iterator[None]:
    """Have the local engine start none meanwhile, so that what is seen does not depend on speed."""
    zygotes = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _stat(folder)[1:2] == [str(instance.process.pid)]
        and (folder / "cmdline").read_bytes().startswith(b"vigil: zygote")
    ]
    assert len(zygotes) == (instance.engine == "local")
    for pid in zygotes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in zygotes:
            os.kill(pid, signal.SIGCONT)


def _stat(process: Path) -> list[str]:
    """Return state, parent and so on of a process; nothing when it is gone."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def test_a_hung_replica_is_replaced(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    with running(make_lab(hang_timeout_s=1.5), tmp_path) as instance:
        url = f"{instance.url}/v2/models/lab/infer"
        victim = instance.members("replica")[0]["pid"]
        hang = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 600_000, 0.0, 0.0]}
        hangs = json.dumps({"inputs": [hang], "parameters": {"timeout": 500_000}})
        assert httpx.post(url, content=hangs, timeout=60).status_code == 504

        def replaced() -> bool:
            # Again, for on a busy machine the deadline may have passed before the replica had it.
            httpx.post(url, content=hangs, timeout=60)
            members = instance.members("replica")
            return bool(members) and members[0]["pid"] != victim

        eventually("a replacement", replaced)
        eventually(
            "answers again",
            lambda: httpx.post(url, content=body([0.0] * 4), timeout=60).status_code == 200,
        )


@direct
@pytest.mark.ends_instance
def test_sigterm_answers_what_is_in_flight_on_every_transport(
    instance: Any, eventually: Any, close_gate: Any
) -> None:
    url = f"{instance.url}/v2/models/lab/infer"
    eventually("its replica is linked", lambda: instance.linked("lab", 1))
    gate = close_gate(instance)
    slow = [1.0, gate.row, 2.0, 3.0]

    def http(version: str) -> str:
        # curl, because Python's h2 takes a GOAWAY for the end of streams that go on.
        # It waits at the gate for as long as all that is waited for below takes.
        command = ["curl", "-sS", version, "--max-time", "400", "-o", "/dev/null"]
        command += ["-w", "%{http_code} %{http_version}", "--data-binary", "@-", url]
        done = subprocess.run(command, input=body(slow), capture_output=True, check=True)
        return done.stdout.decode()

    def grpc() -> tuple[int, ...]:
        given = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(np.array([slow], np.float32))
        with tritonclient.grpc.InferenceServerClient(instance.grpc) as client:
            return client.infer("lab", [given]).as_numpy("y").shape

    def waits(metric: str, value: int) -> None:
        eventually(metric, lambda: instance.metric(metric, model="lab") == value)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(http, "--http1.1")]
        eventually("the first is computed", gate.reached)
        tasks.append(pool.submit(http, "--http2-prior-knowledge"))
        waits("vigil_replica_slots_used", 2)
        tasks.append(pool.submit(grpc))
        waits("vigil_queue_rows", 1)
        instance.process.send_signal(signal.SIGTERM)
        eventually("it stops", instance.stops)
        assert not any(task.done() for task in tasks)
        gate.open()
        assert tasks[0].result() == "200 1.1"
        assert tasks[1].result() == "200 2"
        assert tasks[2].result() == (1, 3)
    eventually("it has ended", lambda: instance.process.poll() is not None)
    assert instance.process.returncode == 0, instance.log.read_text()
