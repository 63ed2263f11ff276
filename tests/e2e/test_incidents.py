"""A planted drift becomes an incident that people handle, and that outlives the instance."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from serving.models.export import save_files

pytestmark = pytest.mark.e2e

NET = """
import numpy as np


class Net:
    def predict(self, inputs):
        positive = (inputs["x"][:, :1] > 0).astype(np.float32)
        return {"y": np.concatenate([1 - positive, positive], 1)}


def net():
    return Net()
"""
MODEL = {
    "format": "python",
    "factory": "net:net",
    "trust_code": True,
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2],
         "features": [{"name": "income"}, {"name": "debt"}]},
    ],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    "explain": None,
    "monitors": {
        "drift": {"reference": "live", "reference_rows": 200, "window": 100},
        "quality": None,
        "performance": None,
        "incidents": {"warm_up_s": 0, "quiet_windows": 2, "quiet_s": 0},
    },
}  # fmt: skip
SECRET = "a-secret-of-the-receiver"


class Receiver:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_what: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/a-secret-path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.posts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (tmp_path / "net.py").write_text(NET)
    save_files(folder / "loans" / "1", tmp_path / "net.py")
    (folder / "loans" / "model.yaml").write_text(yaml.safe_dump(MODEL))
    return folder


def send(server: Any, rows: int, shift: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    x[:, 0] += shift
    data = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": x.ravel().tolist()}
    assert server.infer("loans", [data]).status_code == 200


def vigil(server: Any, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "serving.cli", "incidents", "--url", server.admin, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout


def listed(url: str, query: str = "") -> Any:
    return httpx.get(f"{url}/v2/incidents{query}", timeout=60).json()


def judged(server: Any, model: str = "loans") -> bool:
    found = httpx.get(f"{server.url}/v2/models/{model}/findings", timeout=60).json()
    return any(each["breached"] is False for each in found["findings"])


def test_a_planted_drift_is_an_incident_that_outlives_the_instance(
    running: Callable[..., Any],
    eventually: Callable[..., Any],
    models: Path,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    webhooks = [{"url": receiver.url, "secret": SECRET, "min_severity": "info"}]
    with running(models, tmp_path, webhooks=webhooks) as server:
        eventually("the monitor", lambda: server.members("monitor"))
        for seed in range(4):
            send(server, 100, 0.0, seed)
        eventually("a verdict", lambda: judged(server))
        assert listed(server.url)["incidents"] == []
        for seed in range(4, 8):
            send(server, 100, 3.0, seed)
        [incident] = eventually("an incident", lambda: listed(server.url)["incidents"])
        assert (incident["model"], incident["monitor"]) == ("loans", "drift")
        assert (incident["state"], incident["severity"]) == ("open", "info")
        assert "'income'" in incident["summary"]
        assert incident["evidence"]["deployment"]["version"] == "1"
        assert listed(server.admin)["incidents"][0]["id"] == incident["id"]
        eventually("a message", lambda: receiver.events() == ["opened"])
        headers, body = receiver.posts[0]
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-vigil-signature"] == f"sha256={digest}"
        assert json.loads(body)["incident"]["id"] == incident["id"]
        told = vigil(server, incident["id"]).splitlines()
        assert told[0].startswith("drift of model 'loans' version 1: psi of 'income' is ")
        assert [line.partition(":")[0] for line in told[1:5]] == [
            "since", "how bad", "to do", "then",
        ]  # fmt: skip
        assert incident["id"] in vigil(server, "--open")
        vigil(server, incident["id"], "acknowledge", "--note", "on it")
        eventually("the next", lambda: receiver.events() == ["opened", "acknowledged"])
        server.settle()
        assert server.metric("vigil_incidents_open", model="loans", severity="info") == 1
        assert server.metric("vigil_webhooks_deliveries_total", outcome="delivered") == 2
        config = httpx.get(f"{server.admin}/config", timeout=60).text
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(60)
        shown = config + server.log.read_text()
        assert SECRET not in shown
        assert "a-secret-path" not in shown
    again = tmp_path / "again"
    again.mkdir()
    data_dir = str(tmp_path / "data")
    with running(models, again, data_dir=data_dir, webhooks=webhooks) as server:
        [kept] = eventually(
            "the same", lambda: listed(server.url, "?state=acknowledged")["incidents"]
        )
        assert kept["id"] == incident["id"]
        assert [each["what"] for each in kept["history"]][:1] == ["opened"]
        assert kept["history"][-1]["note"] == "on it"
        eventually("the monitor", lambda: server.members("monitor"))

        def over_after_a_window() -> Any:
            send(server, 100, 0.0, 8)
            return listed(server.url, "?state=resolved")["incidents"]

        [over] = eventually("its end", over_after_a_window)
        assert over["id"] == incident["id"]
        assert "by itself" in over["history"][-1]["note"]
        eventually("its end", lambda: receiver.events()[-1] == "resolved")
        assert receiver.events().count("opened") == 1
        assert "no incident is open" in vigil(server, "--open")
        refused = httpx.get(f"{server.url}/v2/incidents/nobody", timeout=60)
        assert (refused.status_code, list(refused.json())) == (404, ["error"])
        wrong = httpx.post(f"{server.url}/v2/incidents/{over['id']}", json={"action": "x"})
        assert wrong.status_code == 400
        assert "acknowledge, resolve, false_alarm" in wrong.json()["error"]
