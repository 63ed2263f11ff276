"""Vigil inside web applications: the examples, run by a real uvicorn, asked by real clients."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http

from loadtest.process import free_ports
from serving.embedded import Vigil
from serving.errors import ModelNotReady

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "deploy" / "examples"
ROWS = np.full((3, 30), 0.5, np.float32)
LAZY = """
from starlette.applications import Starlette
from starlette.routing import Mount
from serving.embedded import Vigil

app = Starlette(routes=[Mount("/m", Vigil(models="demo-models", data_dir="data"))])
"""


@dataclass
class Host:
    """A web server; `folder` is where it runs."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(parents.get(pid, ()))
    for child in found:
        found += parents.get(child, ())
    return found


def titled(pids: Iterable[int], title: bytes) -> list[int]:
    """Return those of the processes that live and whose title begins so."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title) and alive(pid):
                found.append(pid)
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def host(tmp_path: Path, demo_root: Path) -> Callable[..., Any]:
    """Context manager that runs an application with uvicorn."""
    (tmp_path / "demo-models").symlink_to(demo_root)

    @contextlib.contextmanager
    def run(app: str, *options: str, folder: Path = EXAMPLES) -> Iterator[Host]:
        (port,) = free_ports(1)
        argv = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "--port", str(port)]
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [*argv, *options, app],
                cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip
        try:
            yield Host(process, port, tmp_path)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    return run


def wait_ready(host: Host, eventually: Any, path: str = "/models") -> None:
    def ready() -> bool:
        assert host.process.poll() is None, host.log
        return httpx.get(f"{host.url}{path}/v2/health/ready", timeout=60).status_code == 200

    eventually("ready", ready, 120)


def ask_all(host: Host, eventually: Any) -> None:
    """Ask everything that both examples have."""
    assert httpx.get(host.url, timeout=60).json() == {"hello": "world"}
    assert httpx.get(f"{host.url}/nowhere", timeout=60).status_code == 404

    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{host.port}/models")
    x = tritonclient.http.InferInput("x", ROWS.shape, "FP32")
    x.set_data_from_numpy(ROWS)
    answer = client.infer("cancer", [x], request_id="mounted-1").as_numpy("probabilities")
    assert answer.shape == (3, 2)
    np.testing.assert_allclose(answer.sum(1), 1, atol=1e-5)
    client.close()

    own = httpx.post(f"{host.url}/diagnosis", json=ROWS[0].tolist(), timeout=60).json()
    np.testing.assert_allclose([own["malignant"], own["benign"]], answer[0], rtol=1e-5)
    wrong = httpx.post(f"{host.url}/diagnosis", json=[1.0], timeout=60)
    assert wrong.status_code == 400
    assert "error" in wrong.json()

    models = f"{host.url}/models"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 30], "data": ROWS[0].tolist()}
    named = httpx.post(
        f"{models}/v2/models/cancer/infer",
        json={"inputs": [tensor]},
        headers={"x-request-id": "h"},
        timeout=60,
    )
    assert named.headers["x-request-id"] == named.json()["id"] == "h"
    assert httpx.get(f"{models}/openapi.json", timeout=60).json()["servers"] == [{"url": "/models"}]
    assert httpx.get(f"{models}/nothing", timeout=60).status_code == 404
    refused = httpx.post(f"{models}/v2/repository/models/cancer/unload", timeout=60)
    assert refused.status_code == 403
    assert "orders" in refused.json()["error"]
    grpc = httpx.post(
        f"{models}/inference.GRPCInferenceService/ServerLive",
        headers={"content-type": "application/grpc"},
        timeout=60,
    )
    assert grpc.headers["grpc-status"] == "12"
    assert (
        "vigil%20up" in grpc.headers["grpc-message"] or "vigil up" in grpc.headers["grpc-message"]
    )

    findings = f"{models}/v2/models/cancer/findings"
    eventually("the monitor", lambda: httpx.get(findings, timeout=60).status_code == 200)

    def labelled() -> bool:
        asked = {"inputs": [tensor], "id": "l-1"}
        httpx.post(f"{models}/v2/models/cancer/infer", json=asked, timeout=60)
        labels = {"labels": [{"id": "l-1", "y_true": "benign"}]}
        counts = httpx.post(f"{models}/v2/models/cancer/labels", json=labels, timeout=60).json()
        return bool(counts["accepted"] + counts["duplicate"])

    eventually("a label that finds its prediction", labelled)
    body = json.dumps({"inputs": [tensor]})
    explained = httpx.post(f"{models}/v2/models/cancer/explain", content=body, timeout=90)
    assert explained.status_code == 200, explained.text


@pytest.mark.parametrize(
    ("app", "loop"),
    [
        ("fastapi_app:app", "uvloop"),
        pytest.param("django_app:application", "asyncio", marks=pytest.mark.long),
    ],
)
def test_the_examples_answer_and_leave_nothing(
    app: str, loop: str, host: Callable[..., Any], eventually: Any
) -> None:
    with host(app, "--loop", loop) as server:
        wait_ready(server, eventually)
        ask_all(server, eventually)
        if "fastapi" in app:
            metrics = httpx.get(f"{server.url}/vigil/metrics", timeout=60).text
            assert 'vigil_inference_requests_total{model="cancer"' in metrics
            index = httpx.post(f"{server.url}/vigil/v2/repository/index", timeout=60).json()
            assert {row["name"] for row in index} == {"cancer", "digits", "loans"}
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "libtorch" not in maps
        assert "/ray/" not in maps
        children = descendants(server.process.pid)
        assert len(children) >= 5  # the zygote, three replicas, the monitor
    assert server.process.returncode in (0, -signal.SIGTERM), server.log
    assert "Traceback" not in server.log
    eventually("no process is left", lambda: not any(map(alive, children)))


@pytest.mark.long
def test_a_killed_host_leaves_nothing(host: Callable[..., Any], eventually: Any) -> None:
    with host("fastapi_app:app") as server:
        wait_ready(server, eventually)
        children = descendants(server.process.pid)
        assert len(children) >= 4
        (zygote,) = titled(children, b"vigil: zygote")
        os.kill(zygote, signal.SIGKILL)
        eventually(
            "another zygote",
            lambda: set(titled(descendants(server.process.pid), b"vigil: zygote")) - {zygote},
        )
        replicas = titled(children, b"vigil: replica")
        assert replicas
        assert all(map(alive, replicas))
        children = {*children, *descendants(server.process.pid)}
        server.process.kill()
        server.process.wait()
        eventually("no process is left", lambda: not any(map(alive, children)))


@pytest.mark.long
def test_each_worker_has_its_own(host: Callable[..., Any], eventually: Any) -> None:
    with host("fastapi_app:app", "--workers", "2") as server:
        folders = [server.folder / ".vigil" / f"worker-{number}" for number in (0, 1)]
        eventually("two workers", lambda: all(folder.is_dir() for folder in folders), 120)
        wait_ready(server, eventually)

        titles = (b"vigil: zygote", b"vigil: replica")

        # Two zygotes, each with three replicas.
        eventually(
            "two sets of replicas",
            lambda: sum(len(titled(descendants(server.process.pid), t)) for t in titles) >= 8,
            120,
        )
        children = descendants(server.process.pid)
    eventually("no process is left", lambda: not any(map(alive, children)))


def test_waiting_for_a_model_that_fails_tells_why(tmp_path: Path) -> None:
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    tensor = "{name: x, datatype: FP32, shape: [-1, 2]}"
    yaml = f"format: torch_export\ninputs: [{tensor}]\noutputs: [{tensor}]\n"
    (tmp_path / "models" / "m" / "model.yaml").write_text(yaml)
    (tmp_path / "models" / "m" / "1" / "model.pt2").write_bytes(b"damaged")

    async def wait() -> None:
        async with Vigil(models=tmp_path / "models", data_dir=tmp_path / "data") as vigil:
            with pytest.raises(ModelNotReady, match=r"model 'm' version 1: .*manifest\.json"):
                await vigil.ready(200)
        with pytest.raises(ModelNotReady, match="has been stopped"):
            await vigil.infer("m", {"x": ROWS})

    asyncio.run(wait())


def test_without_a_lifespan_the_first_request_starts_it(
    host: Callable[..., Any], eventually: Any, tmp_path: Path
) -> None:
    (tmp_path / "lazy.py").write_text(LAZY)
    with host("lazy:app", folder=tmp_path) as server:
        url = f"{server.url}/m/v2/models/cancer"
        first = eventually("an answer", lambda: httpx.get(url, timeout=60))
        assert first.status_code == 503
        assert first.headers["retry-after"] == "1"
        assert "starting" in first.json()["error"]
        wait_ready(server, eventually, "/m")
        assert httpx.get(url, timeout=60).json()["name"] == "cancer"
        children = descendants(server.process.pid)
        assert children
    eventually("no process is left", lambda: not any(map(alive, children)))
