"""What is special about the ray engine: who keeps whom alive, and who may talk to Ray."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

# The first tier asks an instance of Ray what it asks any (`ray-direct-channel`), its end included.
pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.long]

ROW = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.0, 0.0, 0.0, 0.0]}
ASK_RAY = """
import sys
import ray
ray.init(sys.argv[1], log_to_driver=False)
"""

GATEWAY = "vigil: gateway"


@pytest.fixture(scope="module")
def receiver(http_servers: ModuleType) -> Iterator[Any]:
    with http_servers.in_thread(http_servers.EventReceiver()) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def lab(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
    receiver: Any,
) -> Iterator[Any]:
    models = make_lab(hang_timeout_s=6)  # Serve checks it three times in this time
    shutil.copytree(models / "lab", models / "spare")
    served = yaml.safe_load((models / "lab" / "model.yaml").read_text())
    copies = {
        "format": "remote",
        "remote": {"url": "http://127.0.0.1:9", "model": "lab", "mirror": "observe"},
        "inputs": served["inputs"],
        "outputs": served["outputs"],
        "monitors": {"drift": None},
    }
    (models / "copied").mkdir()
    (models / "copied" / "model.yaml").write_text(yaml.safe_dump(copies))
    events = {"url": receiver.url, "interval_s": 0.1}
    with running(models, tmp_path_factory.mktemp("ray"), "ray", cloudevents=events) as instance:
        yield instance


def test_the_monitor_sends_cloudevents_and_copies_of_a_server_are_judged(
    lab: Any, receiver: Any, eventually: Any
) -> None:
    def posted(ident: str) -> list[dict[str, Any]]:
        return [
            each
            for each in receiver.events()
            if each["inferenceservicename"] == "lab" and each["data"]["id"].startswith(ident)
        ]

    def asked() -> bool:
        """Ask until the gateway has found the monitor, before which events are not for anybody."""
        assert lab.infer("lab", [ROW], id=f"copied-{uuid4()}").status_code == 200
        return bool(posted("copied-"))

    eventually("events", asked)
    assert lab.infer("lab", [ROW], id="copied-last").status_code == 200
    eventually("all of them", lambda: len(posted("copied-last")) == 2)
    events = [{**each, "inferenceservicename": "copied"} for each in posted("copied-")]
    answer = httpx.post(
        f"{lab.url}/v2/cloudevents",
        content=json.dumps(events),
        headers={"content-type": "application/cloudevents-batch+json"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    pairs = len(events) / 2
    eventually(
        "all pairs",
        lambda: lab.metric("vigil_cloudevents_paired_total", model="copied") == pairs,
    )
    assert lab.metric("vigil_cloudevents_dropped_total") == 0
    eventually(
        "all rows", lambda: lab.metric("vigil_inference_rows_total", model="copied") == pairs
    )


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below `pid` and their command lines."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            todo.append(child)
            found[child] = command(child)
    return found


def command(pid: int) -> str:
    """Return a process's command line; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def comm(pid: int) -> str:
    """Return a process's short name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def left(processes: dict[int, str], *names: str) -> list[int]:
    """Return which of the processes whose command lines hold one of the names are alive."""
    return [
        pid
        for pid, line in processes.items()
        if line and any(name in line for name in names) and command(pid) == line
    ]


def kill_admin(instance: Any) -> None:
    """Kill the actor with the control plane and the admin listener."""
    below = descendants(instance.process.pid)
    actors = [pid for pid, line in below.items() if "ServeReplica:vigil-admin" in line]
    os.kill(actors[0], signal.SIGKILL)


def registered(instance: Any) -> set[str]:
    """Return the ids of the replicas and gateways that the control plane knows."""
    return {m["id"] for role in ("replica", "gateway") for m in instance.members(role)}


def replicas(instance: Any) -> list[int]:
    """Return the processes that compute for the model `lab`."""
    return [m["pid"] for m in instance.members("replica") if m["model"] == "lab"]


def answers(instance: Any) -> bool:
    return bool(instance.infer("lab", [ROW]).status_code == 200)


def test_a_killed_gateway_actor_takes_its_gateway_along_and_is_replaced(
    lab: Any, eventually: Any
) -> None:
    below = descendants(lab.process.pid)
    actor = next(pid for pid, line in below.items() if line.startswith("ray::ServeReplica:vigil:"))
    below_it = [pid for pid, line in descendants(actor).items() if GATEWAY in line]
    assert len(below_it) == 1
    os.kill(actor, signal.SIGKILL)
    eventually("its gateway is gone", lambda: not command(below_it[0]))
    eventually("it answers again", lambda: answers(lab))


def test_a_killed_gateway_is_started_again_by_its_actor(lab: Any, eventually: Any) -> None:
    below = descendants(lab.process.pid)
    gateway = next(pid for pid, line in below.items() if GATEWAY in line)
    os.kill(gateway, signal.SIGKILL)
    eventually("it answers again", lambda: answers(lab))


def test_a_hung_replica_is_replaced(lab: Any, eventually: Any) -> None:
    victim = replicas(lab)[0]
    hang = {**ROW, "data": [0.0, 600_000, 0.0, 0.0]}
    deadline = {"timeout": 500_000}
    assert lab.infer("lab", [hang], parameters=deadline).status_code == 504

    def replaced() -> bool:
        # Again, for on a busy machine the deadline may have passed before the replica had it.
        lab.infer("lab", [hang], parameters=deadline)
        return victim not in replicas(lab)

    eventually("a replacement", replaced)
    eventually("it answers again", lambda: answers(lab))


def test_lines_of_actors_are_whole_and_hold_no_value(lab: Any, eventually: Any) -> None:
    secret, ident = 4711.25, f"a\nb\x1b[31m{uuid4()}"
    row = {**ROW, "data": [666.0, 0.0, secret, 0.0]}
    begun = lab.log.stat().st_size
    assert lab.infer("lab", [row], id=ident).status_code == 500

    def lines(**fields: Any) -> list[dict[str, Any]]:
        new = lab.log.read_bytes()[begun:]
        found = [json.loads(line) for line in new[: new.rfind(b"\n") + 1].splitlines()]
        return [line for line in found if fields.items() <= line.items()]

    (failed,) = eventually("its line", lambda: lines(event="model_failed", request_id=ident))
    assert (failed["model"], failed["version"], failed["error"]) == ("lab", "1", "ValueError")
    assert "/lab/1/net.py:" in failed["exception"]
    os.kill(replicas(lab)[0], signal.SIGKILL)
    eventually("a line", lambda: lines(event="process_replaced", model="lab"))
    eventually("it answers again", lambda: answers(lab))
    eventually("the next replica's line", lambda: lines(role="replica", model="lab"))
    for line in lines():
        assert {"time", "level", "logger", "event", "message", "role", "pid"} <= line.keys()
    assert str(secret) not in lab.log.read_text()


def test_a_killed_admin_loses_no_member(lab: Any, eventually: Any) -> None:
    members = registered(lab)
    kill_admin(lab)
    for _ in range(20):  # serving goes on from the last directory
        assert answers(lab)
    eventually("everybody has registered again", lambda: registered(lab) == members)
    assert answers(lab)


def test_a_new_admin_knows_what_the_dead_one_was_told(lab: Any, eventually: Any) -> None:
    spare = f"{lab.url}/v2/models/spare"
    order = f"{lab.url}/v2/repository/models/spare"
    logging, trace = f"{lab.url}/v2/logging", f"{lab.url}/v2/models/lab/trace/setting"
    assert httpx.post(f"{order}/unload", timeout=60).status_code == 200
    eventually("its replica ends", lambda: {m["model"] for m in lab.members("replica")} == {"lab"})
    assert httpx.post(logging, json={"log_verbose_level": 1}, timeout=60).status_code == 200
    assert httpx.post(trace, json={"trace_rate": "7"}, timeout=60).status_code == 200
    members, statuses = registered(lab), set()

    kill_admin(lab)

    def back() -> bool:
        statuses.add(httpx.get(spare, timeout=60).status_code)
        return registered(lab) == members

    eventually("everybody has registered again", back)
    assert statuses == {404}  # no gateway was told of the models of the start
    assert httpx.get(logging, timeout=60).json()["log_verbose_level"] == 1
    assert httpx.get(trace, timeout=60).json()["trace_rate"] == "7"
    listed = httpx.post(f"{lab.url}/v2/repository/index", timeout=60).json()
    states = {row["name"]: row["state"] for row in listed}
    assert (states["lab"], states["spare"]) == ("READY", "UNAVAILABLE")
    assert httpx.get(spare, timeout=60).status_code == 404
    assert answers(lab)

    assert httpx.post(f"{order}/load", timeout=120).status_code == 200
    assert httpx.get(spare, timeout=60).status_code == 200
    assert httpx.post(logging, json={"log_verbose_level": None}, timeout=60).status_code == 200
    assert httpx.post(trace, json={"trace_rate": None}, timeout=60).status_code == 200


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_lost_ray_is_started_again_with_what_was_served(
    lab: Any, eventually: Any, name: str
) -> None:
    order = f"{lab.url}/v2/repository/models/spare"
    trace = f"{lab.url}/v2/models/lab/trace/setting"
    assert httpx.post(f"{order}/unload", timeout=60).status_code == 200
    assert httpx.post(trace, json={"trace_rate": "7"}, timeout=60).status_code == 200
    eventually("its replica ends", lambda: {m["model"] for m in lab.members("replica")} == {"lab"})
    below = descendants(lab.process.pid)
    (victim,) = [pid for pid in below if comm(pid) == name]
    os.kill(victim, signal.SIGKILL)

    statuses = set()

    def back() -> bool:
        try:
            statuses.add(lab.infer("lab", [ROW]).status_code)
        except httpx.TransportError:  # nobody listens, or who did has ended
            return False
        return 200 in statuses and not left(below, "raylet", "gcs_server", "ServeReplica", GATEWAY)

    eventually("it answers again", back, 300)
    assert statuses <= {200, 503}
    eventually(
        "it is ready", lambda: httpx.get(f"{lab.admin}/readyz", timeout=60).status_code == 200, 100
    )
    assert answers(lab)
    assert '"ray_lost"' in lab.log.read_text()
    told = subprocess.run(
        [sys.executable, "-m", "serving.cli", "status", "--url", lab.admin],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "lab version 1: READY" in told.stdout
    assert httpx.get(f"{lab.url}/v2/models/spare", timeout=60).status_code == 404
    assert httpx.get(trace, timeout=60).json()["trace_rate"] == "7"
    # Nothing of the lost one is left, but for the command itself.
    assert not left({pid: line for pid, line in below.items() if pid != victim}, "")

    assert httpx.post(f"{order}/load", timeout=120).status_code == 200
    assert httpx.post(trace, json={"trace_rate": None}, timeout=60).status_code == 200
    eventually("both models", lambda: len({m["model"] for m in lab.members("replica")}) == 2)


def test_a_request_that_hangs_its_replica_is_not_sent_to_another(lab: Any, eventually: Any) -> None:
    (victim,) = replicas(lab)
    hang = {**ROW, "data": [0.0, 700_000, 0.0, 0.0]}
    answer = lab.infer("lab", [hang], timeout_s=120)
    assert answer.status_code == 500, answer.text
    assert "computed this request took too long and was replaced" in answer.json()["error"]
    eventually("it answers again", lambda: answers(lab), 200)
    pids = replicas(lab)
    assert victim not in pids
    answer = lab.infer("lab", [hang])
    assert answer.status_code == 500
    assert "the same inputs" in answer.json()["error"]
    assert replicas(lab) == pids


def test_ray_wants_the_token(lab: Any) -> None:
    token = lab.log.parent / "data" / "ray.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    lines = descendants(lab.process.pid).values()
    raylet = next(line for line in lines if "--gcs-address=" in line)
    address = raylet.partition("--gcs-address=")[2].split()[0]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    wrong = {**clean, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    for environment in (wrong, {**clean, "RAY_AUTH_MODE": "disabled"}):
        asked = subprocess.run(
            [sys.executable, "-c", ASK_RAY, address],
            env={**environment, "RAY_gcs_server_port_wait_time_s": "2"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert asked.returncode != 0
        assert "oken" in asked.stderr
    assert token.read_text() not in json.dumps(list(lines))


def test_nothing_outlives_the_supervisor(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    with running(make_lab(), tmp_path, "ray") as instance:
        below = descendants(instance.process.pid)
        assert len(below) > 8
        instance.process.kill()
        instance.process.wait(60)

        eventually("every role is gone", lambda: not left(below, "ServeReplica", GATEWAY))
        # Ray's own agents look for their node once a minute.
        eventually("Ray is gone", lambda: not left(below, ""), 100)


def test_sigterm_while_starting_ends_everything(
    make_lab: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving.cli", "up", "--engine", "ray"),
            *("--models", str(make_lab()), "--http-port", "0"),
            *("--grpc-port", "0", "--admin-port", "0"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2])])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually("it has children", lambda: len(descendants(process.pid)) > 5)
        below = descendants(process.pid)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait(60)
    eventually("every process is gone", lambda: not left(below, ""), 100)


def test_metrics_of_every_role_reach_the_admin_listener(lab: Any, eventually: Any) -> None:
    assert answers(lab)
    eventually(
        "requests are counted",
        lambda: lab.metric("vigil_inference_requests_total", model="lab", outcome="ok") > 0,
    )
    assert httpx.get(f"{lab.admin}/healthz", timeout=60).status_code == 200
