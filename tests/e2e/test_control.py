"""Models come, change and go in a running server, and no client notices more than it should."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving.models.export import save_files

pytestmark = pytest.mark.e2e

# What the control plane and the gateways decide, whoever started them; each start of Ray takes
# long.
ENGINES = ["local", pytest.param("ray", marks=(pytest.mark.ray, pytest.mark.long))]

# Not of torch: an instance without it starts in half the time.
SCALE_NET = '''
"""y = x * factor."""
from pathlib import Path

import numpy as np


class Scale:
    def __init__(self, factor):
        self.factor = np.float32(factor)

    def predict(self, inputs):
        if self.factor < 0:
            raise ValueError("a negative factor")
        return {"y": inputs["x"] * self.factor}


def build():
    return Scale(float(Path(__file__).with_name("factor.txt").read_text()))
'''

SCALE_CONFIG = """
format: python
factory: net:build
trust_code: true
versions: {versions}
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 2]}}
outputs:
  - {{name: y, datatype: FP32, shape: [-1, 2]}}
monitors: {{drift: null}}
explain: null
"""


class Shelf:
    """A folder of models that multiply by a factor."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root.parent / "net.py"
        self.source.write_text(SCALE_NET)
        root.mkdir()

    def put(self, name: str, version: int, factor: float) -> None:
        weights = self.source.with_name("factor.txt")
        weights.write_text(str(factor))
        save_files(self.root / name / str(version), self.source, weights)

    def describe(self, name: str, versions: str = "latest") -> None:
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "model.yaml").write_text(SCALE_CONFIG.format(versions=versions))

    def spoil(self, name: str, version: int) -> None:
        """Put a version whose weights are no weights, but what the manifest says."""
        folder = self.root / name / str(version)
        self.put(name, version, 1.0)
        (folder / "factor.txt").write_bytes(b"no weights")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Shelf]:
    def make() -> Shelf:
        shelf = Shelf(tmp_path_factory.mktemp("shelf") / "models")
        for name in ("steady", "other"):
            shelf.describe(name)
            shelf.put(name, 1, 1.0)
        return shelf

    return make


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Traffic:
    """Clients that ask `steady` all the time; what is wrong is written down."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance
        self._stop = threading.Event()
        self.right = {1.0}
        self.wrong: list[str] = []
        self.counts: Counter[float] = Counter()

    def _judge(self, x: float, y: float, version: str, asked: set[float]) -> None:
        """Write down an answer; `asked` is what was right when it was asked for."""
        factor = y / x
        if factor not in self.right | asked or float(version) != factor:
            self.wrong.append(f"version {version} answered {x} with {y}")
        self.counts[factor] += 1

    def over_http(self) -> None:
        body = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[%d,1]}]}'
        with httpx.Client(timeout=60) as client:
            for x in itertools.cycle(range(1, 9)):
                if self._stop.is_set():
                    return
                asked = self.right
                answer = client.post(
                    f"{self._instance.url}/v2/models/steady/infer", content=body % x
                )
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                    continue
                found = answer.json()
                self._judge(x, found["outputs"][0]["data"][0], found["model_version"], asked)

    def over_grpc(self) -> None:
        with tritonclient.grpc.InferenceServerClient(self._instance.grpc) as client:
            for x in itertools.cycle(range(1, 9)):
                if self._stop.is_set():
                    return
                asked = self.right
                tensor = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
                tensor.set_data_from_numpy(np.array([[x, 1]], np.float32))
                try:
                    found = client.infer("steady", [tensor])
                except InferenceServerException as error:
                    self.wrong.append(str(error))
                    continue
                y = float(found.as_numpy("y")[0, 0])
                self._judge(x, y, found.get_response().model_version, asked)

    @contextlib.contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            work = (self.over_http, self.over_http, self.over_http, self.over_grpc, self.over_grpc)
            tasks = [pool.submit(run) for run in work]
            try:
                yield self
            finally:
                self._stop.set()
            for task in tasks:
                task.result()


def rows(client: tritonclient.http.InferenceServerClient) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["name"], row["version"]): row for row in client.get_model_repository_index()}


def test_versions_change_under_traffic_and_no_request_fails(
    engine: str, running: Any, shelf: Callable[[], Shelf], tmp_path: Path, eventually: Any
) -> None:
    models = shelf()
    with (
        running(models.root, tmp_path, engine, gateways=2, load_timeout_s=200) as instance,
        tritonclient.http.InferenceServerClient(
            f"127.0.0.1:{instance.http_port}", network_timeout=240
        ) as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
        Traffic(instance).flowing() as traffic,
    ):
        eventually("answers of version 1", lambda: traffic.counts[1.0] > 50)

        models.put("steady", 2, 2.0)
        traffic.right = {1.0, 2.0}
        http.load_model("steady")
        # Every gateway answers with it now; what is under way was asked before.
        assert rows(http)["steady", "2"] == {
            "name": "steady", "version": "2", "state": "READY", "reason": "",
        }  # fmt: skip
        assert http.get_model_metadata("steady")["versions"] == ["2"]
        eventually("answers of version 2", lambda: traffic.counts[2.0] > 50)
        traffic.right = {2.0}

        # Weights that cannot be read, weights that raise on the first inference.
        models.spoil("steady", 3)
        with pytest.raises(InferenceServerException, match=r"version 3.*SHA-256"):
            rpc.load_model("steady")
        models.put("steady", 3, -1.0)
        with pytest.raises(InferenceServerException, match=r"version 3.*a negative factor"):
            http.load_model("steady")
        found = rows(http)
        assert found["steady", "2"]["state"] == "READY"
        assert found["steady", "3"]["state"] == "UNAVAILABLE"
        assert "a negative factor" in found["steady", "3"]["reason"]
        before = traffic.counts[2.0]
        eventually("more of version 2", lambda: traffic.counts[2.0] > before + 50)

        rpc.unload_model("other")
        assert not http.is_model_ready("other")
        assert rows(http)["other", "1"]["reason"] == "unloaded"
        with pytest.raises(InferenceServerException, match="Request for unknown model"):
            http.get_model_metadata("other")
        eventually("its replica ends", lambda: "other" not in served_by_replicas(instance))
        rpc.load_model("other")
        assert http.is_model_ready("other")

        # The same version with other weights, and nothing else touched.
        steady = {m["pid"] for m in instance.members("replica") if m["model"] == "steady"}
        models.put("other", 1, 5.0)
        rpc.load_model("other")
        x = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}]
        assert instance.infer("other", x).json()["outputs"][0]["data"] == [5.0, 5.0]
        now = {m["pid"] for m in instance.members("replica") if m["model"] == "steady"}
        assert steady == now
        eventually(
            "one replica of each",
            lambda: sorted(served_by_replicas(instance)) == ["other", "steady"],
        )
    assert not traffic.wrong, traffic.wrong[:3]
    assert sum(traffic.counts.values()) > 200


def served_by_replicas(instance: Any) -> list[str]:
    return [member["model"] for member in instance.members("replica")]


@pytest.fixture(scope="module")
def several(
    engine: str,
    running: Any,
    shelf: Callable[[], Shelf],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, Shelf]]:
    models = shelf()
    models.put("steady", 2, 2.0)
    models.put("steady", 3, 3.0)
    models.describe("steady", "[1, 3]")
    with running(models.root, tmp_path_factory.mktemp("several"), engine) as instance:
        yield instance, models


def factor(instance: Any, path: str) -> float:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}
    answer = httpx.post(
        f"{instance.url}/v2/models/{path}/infer",
        content=json.dumps({"inputs": [tensor]}),
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return float(answer.json()["outputs"][0]["data"][0])


def test_several_versions_answer_side_by_side(several: tuple[Any, Shelf]) -> None:
    instance, _models = several
    assert httpx.get(f"{instance.url}/v2/models/steady", timeout=60).json()["versions"] == [
        "1",
        "3",
    ]
    assert factor(instance, "steady") == 3.0
    assert factor(instance, "steady/versions/1") == 1.0
    missing = httpx.get(f"{instance.url}/v2/models/steady/versions/2", timeout=60)
    assert missing.status_code == 404


def test_the_admin_listener_takes_orders_but_not_from_web_pages(
    several: tuple[Any, Shelf],
) -> None:
    instance, _models = several
    for base in (instance.admin, instance.url):
        path = f"{base}/v2/repository/models/other/load"
        assert httpx.post(path, timeout=60).status_code == 200
        refused = httpx.post(path, headers={"origin": "http://evil.example"}, timeout=60)
        assert refused.status_code == 403
        override = {"parameters": {"config": "{}"}}
        answer = httpx.post(path, json=override, timeout=60)
        assert answer.status_code == 400
        assert "model.yaml" in answer.json()["error"]
        unknown = httpx.post(f"{base}/v2/repository/models/nobody/load", timeout=60)
        assert unknown.status_code == 404
        assert unknown.json()["error"].startswith("failed to load 'nobody', Request for unknown")
        listed = httpx.post(f"{base}/v2/repository/index", timeout=60).json()
        assert {(row["name"], row["version"], row["state"]) for row in listed} == {
            ("other", "1", "READY"),
            ("steady", "1", "READY"),
            ("steady", "3", "READY"),
        }


def test_the_folder_is_followed_without_a_call(
    engine: str, running: Any, shelf: Callable[[], Shelf], tmp_path: Path, eventually: Any
) -> None:
    models = shelf()
    with running(models.root, tmp_path, engine, poll_models_s=0.2) as instance:
        assert factor(instance, "steady") == 1.0
        models.put("steady", 2, 2.0)
        eventually("version 2", lambda: factor(instance, "steady") == 2.0)
        shutil.rmtree(models.root / "other")
        gone = f"{instance.url}/v2/models/other"
        eventually("it is unloaded", lambda: httpx.get(gone, timeout=60).status_code == 404)


def test_a_start_with_a_broken_newest_version_serves_the_one_before(
    running: Any, shelf: Callable[[], Shelf], tmp_path: Path
) -> None:
    models = shelf()
    models.put("steady", 2, 2.0)
    models.spoil("steady", 3)
    with (
        running(models.root, tmp_path) as instance,
        tritonclient.http.InferenceServerClient(
            f"127.0.0.1:{instance.http_port}", network_timeout=120
        ) as http,
    ):

        def state() -> list[tuple[str, str, str]]:
            return [(row["name"], row["version"], row["state"]) for row in index(instance)]

        assert factor(instance, "steady") == 2.0
        assert http.get_model_metadata("steady")["versions"] == ["2"]
        there = [("other", "1", "READY"), ("steady", "2", "READY"), ("steady", "3", "UNAVAILABLE")]
        assert state() == there
        assert "SHA-256" in rows(http)["steady", "3"]["reason"]
        assert "version 2 of model 'steady' serves in the place of version 3" in log(instance)
        with pytest.raises(InferenceServerException, match=r"version 3.*what served before"):
            http.load_model("steady")
        assert state() == there
        models.put("steady", 3, 3.0)
        http.load_model("steady")
        assert factor(instance, "steady") == 3.0


def index(instance: Any) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = httpx.post(
        f"{instance.url}/v2/repository/index", timeout=60
    ).json()
    return listed


def test_only_the_admin_listener_takes_orders_where_others_can_connect(
    running: Any, shelf: Callable[[], Shelf], tmp_path: Path
) -> None:
    models = shelf()
    with running(models.root, tmp_path, insecure=True, host="0.0.0.0") as instance:
        path = "/v2/repository/models/other/load"
        refused = httpx.post(instance.url + path, timeout=60)
        assert refused.status_code == 403
        assert "admin listener" in refused.json()["error"]
        with (
            tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
            pytest.raises(InferenceServerException, match="PERMISSION_DENIED"),
        ):
            rpc.unload_model("other")
        assert httpx.post(instance.admin + path, timeout=60).status_code == 200


def test_requests_are_traced_when_that_is_asked_for(
    several: tuple[Any, Shelf], eventually: Any
) -> None:
    instance, _models = several
    folder = instance.log.parent / "data" / "traces"
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
    ):
        assert http.get_trace_settings()["trace_level"] == ["OFF"]
        asked = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "3"}
        found = rpc.update_trace_settings("steady", asked, as_json=True)["settings"]
        assert found["trace_rate"]["value"] == ["2"]

        def traces() -> list[dict[str, Any]]:
            lines = [path.read_text().splitlines() for path in folder.glob("*.jsonl")]
            return [json.loads(line) for file in lines for line in file]

        def three() -> bool:
            # Settings reach the gateway a moment after they are told.
            factor(instance, "steady")
            factor(instance, "other")
            return len(traces()) == 3

        eventually("three traces", three)
        for _ in range(4):
            three()
        assert len(traces()) == 3
        assert {trace["model_name"] for trace in traces()} == {"steady"}
        for trace in traces():
            times = [moment["ns"] for moment in trace["timestamps"]]
            assert times == sorted(times)
            assert trace["timestamps"][0]["name"] == "REQUEST_START"
        # What a model has not set, it takes from what is set for all; nothing is left is OFF.
        http.update_trace_settings(settings={"trace_rate": 7})
        cleared = http.update_trace_settings("steady", dict.fromkeys(asked))
        assert (cleared["trace_level"], cleared["trace_rate"]) == (["OFF"], "7")
        with pytest.raises(InferenceServerException, match="cannot be changed"):
            http.update_trace_settings(settings={"trace_file": "elsewhere"})
        with pytest.raises(InferenceServerException, match="unknown model"):
            rpc.get_trace_settings("nobody")


def test_what_is_logged_can_be_changed_and_outlives_a_gateway(
    several: tuple[Any, Shelf], eventually: Any
) -> None:
    instance, _models = several
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{instance.http_port}") as http,
        tritonclient.grpc.InferenceServerClient(instance.grpc) as rpc,
    ):
        assert http.get_log_settings()["log_verbose_level"] == 0
        found = rpc.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]
        assert found["log_verbose_level"] == {"uint32_param": 1}
        with pytest.raises(InferenceServerException, match="log_file"):
            http.update_log_settings({"log_file": "elsewhere"})
        if instance.engine == "local":  # actors of Ray have logs of their own
            eventually("details", lambda: DETAILS in log(instance))
            (gateway,) = instance.members("gateway")
            os.kill(gateway["pid"], signal.SIGKILL)
            eventually("a new gateway", lambda: factor(instance, "steady") == 3.0)
            length = len(log(instance))
            http.load_model("other")
            http.update_log_settings({"log_verbose_level": 2})
            eventually(
                "details again",
                lambda: DETAILS in log(instance)[length:],
            )
        assert http.update_log_settings({"log_verbose_level": None})["log_verbose_level"] == 0


DETAILS = '"event":"directory_followed"'


def log(instance: Any) -> str:
    return str(instance.log.read_text())
