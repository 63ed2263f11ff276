"""`vigil watch` while the server behind it rolls out another version of a model."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import yaml

from serving.protocol.messages import InferRequest, Tensor
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

MOST = 16
WINDOW = 200
MARK = 777.0
CONFIG = {
    "format": "remote",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    "batching": {"max_batch_size": MOST},
    "monitors": {
        "drift": {"reference": "live", "reference_rows": WINDOW, "window": WINDOW},
        "performance": {"min": 0.5},
    },
}


def right(version: str, x: np.ndarray) -> np.ndarray:
    """What a version answers: version 1 says `yes` to every row, every other one `no`."""
    first, other = x[:, :1], 1.0 if version == "1" else -1.0
    return np.concatenate([first, first + other], 1).astype(np.float32)


class Model:
    """The model on the other server. A row that holds `MARK` makes it roll out `rolls_to`."""

    def __init__(self) -> None:
        self.version = "1"
        self.rolls_to = ""
        self.rolled: Callable[[str], None] = lambda version: None
        self.rows: list[int] = []

    def roll(self, version: str) -> None:
        self.version = version
        self.rolled(version)

    def answer(self, version: str, x: np.ndarray) -> np.ndarray:
        self.rows.append(len(x))
        if self.rolls_to and (x == MARK).any():
            self.roll(self.rolls_to)  # of the answers after this one
        return right(version, x)


@contextlib.contextmanager
def over_grpc(model: Model, make_upstream: Callable[[], Any]) -> Iterator[str]:
    server = make_upstream()
    server.metadata.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    server.metadata.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
    model.rolled = lambda version: setattr(server, "version", version)

    def compute(request: InferRequest) -> list[Tensor]:
        y = model.answer(request.model_version, request.inputs[0].data)
        return [Tensor("y", "FP32", y.shape, y)]

    server.compute = compute
    yield f"grpc://{server.address}"


@contextlib.contextmanager
def over_http(model: Model, http_servers: ModuleType) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

        def _reply(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            tensors = {
                side: [{"name": name, "datatype": "FP32", "shape": [-1, 2]}]
                for side, name in (("inputs", "x"), ("outputs", "y"))
            }
            self._reply({"name": "m", "versions": ["1"], "extensions": [], **tensors})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            version = model.version
            x = np.array(asked["inputs"][0]["data"], np.float32).reshape(-1, 2)
            y = model.answer(version, x)
            output = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.ravel().tolist()}
            self._reply({"model_name": "m", "model_version": version, "outputs": [output]})

    with http_servers.in_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


Carrier = Callable[[Model], contextlib.AbstractContextManager[str]]
CARRIERS = ("grpc", "http")


@pytest.fixture(scope="session")
def carriers(make_upstream: Callable[[], Any], http_servers: ModuleType) -> dict[str, Carrier]:
    """Start a server of a model, by what it speaks."""
    return {
        "grpc": partial(over_grpc, make_upstream=make_upstream),
        "http": partial(over_http, http_servers=http_servers),
    }


Rolling = tuple[Model, Any]


@contextlib.contextmanager
def started(carrier: Carrier, watching: Callable[..., Any], folder: Path) -> Iterator[Rolling]:
    """Start a model on a server that speaks gRPC or HTTP, and `vigil watch` in front of it."""
    model = Model()
    with carrier(model) as url:
        (folder / "kept" / "m" / "1").mkdir(parents=True)
        # One request upstream at a time, so that parts of a request follow each other.
        config = {**CONFIG, "remote": {"url": url, "max_inflight": 1}}
        (folder / "kept" / "m" / "model.yaml").write_text(yaml.safe_dump(config))
        with watching(url, folder, "--model=m", f"--write={folder / 'kept'}") as instance:
            yield model, instance


@pytest.fixture(params=["grpc", pytest.param("http", marks=pytest.mark.long)])
def rolling(
    request: pytest.FixtureRequest,
    carriers: dict[str, Carrier],
    watching: Callable[..., Any],
    tmp_path: Path,
) -> Iterator[Rolling]:
    """A model and `vigil watch`, which has seen nothing yet."""
    with started(carriers[request.param], watching, tmp_path) as made:
        yield made


@pytest.fixture(scope="module", params=CARRIERS)
def shared(
    request: pytest.FixtureRequest,
    carriers: dict[str, Carrier],
    watching: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rolling]:
    folder = tmp_path_factory.mktemp("shared")
    with started(carriers[request.param], watching, folder) as made:
        yield made


@pytest.fixture
def watched(shared: Rolling) -> Rolling:
    """A model that is at version 1 again, and `vigil watch`."""
    model, _ = shared
    model.rolls_to = ""
    model.roll("1")
    model.rows.clear()
    return shared


class Client:
    """Asks an instance and holds every answer against what its version answers."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance
        self.http = httpx.Client(base_url=instance.url, timeout=60)
        self.answers: list[tuple[str, str, int]] = []
        """Id, version and rows of each request."""

    def close(self) -> None:
        self.http.close()

    def ask(self, x: np.ndarray, ident: str) -> str:
        """Return the version that answered."""
        tensor = {"name": "x", "datatype": "FP32", "shape": x.shape, "data": x.ravel().tolist()}
        answer = self.http.post("/v2/models/m/infer", json={"id": ident, "inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        y = np.array(told["outputs"][0]["data"], np.float32).reshape(-1, 2)
        np.testing.assert_array_equal(y, right(told["model_version"], x))
        self.answers.append((ident, told["model_version"], len(x)))
        return str(told["model_version"])

    def findings(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The latest findings by version and metric."""
        answer = self.http.get("/v2/models/m/findings")
        assert answer.status_code == 200, answer.text
        return {(f["version"], f["metric"]): f for f in answer.json()["findings"]}


@pytest.fixture
def client(rolling: tuple[Model, Any]) -> Iterator[Client]:
    with contextlib.closing(Client(rolling[1])) as made:
        yield made


def test_answers_and_findings_are_of_the_version_that_the_server_has_then(
    rolling, client, eventually
):
    model, instance = rolling
    eventually("the monitor", lambda: client.findings() is not None)
    stop = threading.Event()

    def keep_asking(number: int) -> list[tuple[str, str, int]]:
        random = np.random.default_rng(number)
        with contextlib.closing(Client(instance)) as mine:
            # Not as fast as it goes: what the monitor cannot follow is dropped.
            while not stop.wait(0.02):
                rows = int(random.integers(1, 3 * MOST))  # more than one part for most of them
                x = random.normal(0, 1, (rows, 2)).astype(np.float32)
                mine.ask(x, f"c{number}-{len(mine.answers)}")
            return mine.answers

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(keep_asking, number) for number in range(8)]

        def judged(version: str) -> Any:
            if failed := next((one for one in asking if one.done()), None):
                failed.result()
            found = client.findings().get((version, "drifted_features"))
            return found is not None and found["breached"] is False

        try:
            eventually("a verdict on version 1", lambda: judged("1"))
            model.roll("2")
            eventually("a verdict on version 2", lambda: judged("2"))
        finally:
            stop.set()
        answers = [answer for one in asking for answer in one.result()]
    assert {version for _, version, _ in answers} == {"1", "2"}
    assert max(model.rows) <= MOST

    # Labels: version 1 was right each time, version 2 never.
    labels = [
        {"id": ident, "index": index, "y_true": "yes"}
        for ident, _, rows in answers
        for index in range(rows)
    ]
    counts: Counter[str] = Counter()
    for start in range(0, len(labels), 50_000):
        told = client.http.post(
            "/v2/models/m/labels", json={"labels": labels[start : start + 50_000]}
        )
        counts.update(told.json())
    assert counts["accepted"] == len(labels)
    found = client.findings()
    accuracy = {version: found[version, "accuracy"] for version in "12"}
    assert {version: one["value"] for version, one in accuracy.items()} == {"1": 1.0, "2": 0.0}
    assert {version: one["breached"] for version, one in accuracy.items()} == {
        "1": False, "2": True,
    }  # fmt: skip

    # Drifted rows come to version 2 alone.
    before = found["1", "drifted_features"]
    random = np.random.default_rng(99)

    def drifted() -> bool:
        for index in range(WINDOW // 20):
            x = random.normal(4, 1, (20, 2)).astype(np.float32)
            assert client.ask(x, f"drifted-{index}") == "2"
        return client.findings()["2", "drifted_features"]["breached"] is True

    eventually("drift of version 2", drifted)
    now = client.findings()["1", "drifted_features"]
    assert {**now, "age_s": 0} == {**before, "age_s": 0}

    def console_tells() -> Any:
        data = httpx.get(f"{instance.admin}/console/data", timeout=60).json()
        said = any("drift in model m version 2" in one["text"] for one in data["problems"])
        return data if said else None

    # The control plane hears of findings once a second, whenever it hears of counts.
    told = eventually("the console tells of the drift", console_tells)
    breached = {one["version"] for one in told["findings"] if one["breached"]}
    assert breached == {"2"}
    instance.settle()
    assert instance.metric("vigil_drift_alarms_total", model="m", version="1") == 0
    assert instance.metric("vigil_drift_alarms_total", model="m", version="2") >= 1
    assert instance.metric("vigil_drift_score", model="m", version="2") > 0.2
    assert (
        instance.metric("vigil_performance_score", model="m", version="1", metric="accuracy") == 1.0
    )
    report = client.http.get("/v2/models/m/reports/drift", params={"version": "3"})
    assert report.status_code == 404
    assert "version '3' of 'm' is not watched" in report.json()["error"]


def test_a_request_in_parts_is_answered_by_one_version(watched):
    model, instance = watched
    model.rolls_to = "v0.2.0"
    x = np.zeros((2 * MOST + 3, 2), np.float32)
    x[0] = MARK  # so the first part is answered by version 1, and the others are not
    with contextlib.closing(Client(instance)) as client:
        assert client.ask(x, "large") == "v0.2.0"
    assert model.rows == [MOST, MOST, 3, MOST]


def test_grpc_clients_are_told_the_version_too(watched):
    model, instance = watched
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(np.ones((1, 2), "<f4").tobytes())
    with grpc.insecure_channel(instance.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        for version in ("1", "v2"):
            model.roll(version)
            answer = stub.ModelInfer(request, timeout=60)
            streamed = [one.infer_response for one in stub.ModelStreamInfer(iter([request] * 2))]
            for one in (answer, *streamed):
                assert one.model_version == version
                y = np.frombuffer(one.raw_output_contents[0], "<f4").reshape(-1, 2)
                np.testing.assert_array_equal(y, right(version, np.ones((1, 2), np.float32)))
