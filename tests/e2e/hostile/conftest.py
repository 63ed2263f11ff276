"""Fixtures of the hostile tests: one instance per ingress, and proof that it is still right."""

import contextlib
import http.client
import importlib.util
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

INFER = "/inference.GRPCInferenceService/ModelInfer"


def _load(file: str) -> ModuleType:
    # No packages in tests: helpers are loaded by path, once.
    name = f"vigil_hostile_{file}"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{file}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


ingresses = _load("ingresses")


@pytest.hookimpl(tryfirst=True)  # before what is marked `long` is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark most cases `long` on ingresses that are not the default."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "shared_target" not in callspec.params:
            continue
        _, ingress = callspec.params["shared_target"]
        case = callspec.id.removeprefix(ingress).removeprefix("-") or None
        assert isinstance(item, pytest.Function)
        if ingress != "direct" and not ingresses.is_everywhere(item.originalname, case):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def wire() -> ModuleType:
    """Raw HTTP/1.1 and HTTP/2; see `wire.py`."""
    return _load("wire")


class Target:
    """A running instance, clients that stay connected, and what is right.

    Models: `echo` (x FP32 [-1, 4], comes back as x_out), `a..b` (the same), `kinds` (an input of
    every datatype in `KINDS`, each [-1, 2], each comes back).
    """

    def __init__(self, instance: Any) -> None:
        self.instance = instance
        self.ingress: str = instance.ingress
        self.http = httpx.Client(base_url=instance.url, timeout=60, verify=False)
        self.channel = grpc.insecure_channel(instance.grpc)
        self._good = itertools.count(1)
        # Behind Serve, others may have had their errors logged.
        self._log_seen = instance.log.stat().st_size if self.ingress == "serve" else 0
        self.gateways = {member["pid"] for member in instance.members("gateway")}

    def differs(self, name: str) -> bool:
        """Whether the ingress is known to answer differently; see `DIFFERENCES`."""
        assert any(name in known for known in ingresses.DIFFERENCES.values()), name
        return name in ingresses.DIFFERENCES[self.ingress]

    def close(self) -> None:
        self.http.close()
        self.channel.close()

    def post(
        self, body: Any, headers: dict[str, str] | None = None, model: str = "echo"
    ) -> httpx.Response:
        """POST an inference; `body` is sent as it is if it is bytes, else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(f"/v2/models/{model}/infer", content=content, headers=headers)

    def call(self, message: Any, path: str = INFER, **options: Any) -> bytes:
        """Make a unary gRPC call; `message` is bytes or a protobuf message."""
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        send = self.channel.unary_unary(path, None, None)
        answer: bytes = send(payload, timeout=60, **options)
        return answer

    def refused(self, answer: httpx.Response, status: int, words: str = "") -> None:
        """Check that an answer is an error of one clear sentence."""
        assert answer.status_code == status, (answer.status_code, answer.text[:500])
        assert answer.headers["content-type"] == "application/json"
        (sentence,) = answer.json().values()
        assert re.search(words, sentence), sentence
        assert 0 < len(sentence) < 1000
        assert "\n" not in sentence
        assert "Traceback" not in sentence

    def fails(self, code: grpc.StatusCode, words: str, message: Any, **options: Any) -> None:
        """Check that a gRPC call fails with a code and one clear sentence."""
        with pytest.raises(grpc.RpcError, match=words) as caught:
            self.call(message, **options)
        assert caught.value.code() is code, caught.value
        assert len(caught.value.details()) < 1000
        assert "Traceback" not in caught.value.details()

    def request(self, row: list[float]) -> dict[str, Any]:
        """A good request for `echo`."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}
        return {"inputs": [tensor]}

    def message(self, row: list[float]) -> Any:
        """A good gRPC request for `echo`."""
        message = service_pb2.ModelInferRequest(model_name="echo")
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        message.raw_input_contents.append(np.array(row, np.float32).tobytes())
        return message

    def still_right(self) -> None:
        """Alive, the same processes, and right numbers: old connections and a new one."""
        number = float(next(self._good))
        row = [number, 0.5, -number, 4.0]
        body = json.dumps(self.request(row))
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.instance.http_port, timeout=60)
        ) as new:
            new.request("GET", "/v2/health/live")
            live = new.getresponse()
            assert (live.status, live.read()) == (200, b'{"live":true}')
            new.request("POST", "/v2/models/echo/infer", body)
            answer = new.getresponse()
            status, text = answer.status, answer.read()
        old = self.http.post("/v2/models/echo/infer", content=body)
        for code, given in ((status, text), (old.status_code, old.content)):
            assert code == 200, given
            assert json.loads(given)["outputs"][0]["data"] == row
        reply = service_pb2.ModelInferResponse.FromString(self.call(self.message(row)))
        assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == row
        assert all(Path(f"/proc/{pid}").exists() for pid in self.gateways), "a gateway died"
        with self.instance.log.open("rb") as log:
            log.seek(self._log_seen)
            said = log.read()
        self._log_seen += len(said)
        if self.differs("proxy-log"):
            said = b"".join(line for line in said.splitlines(True) if b"(ProxyActor" not in line)
        assert b"Traceback" not in said, said.decode(errors="replace")
        assert b'"event":"internal_error"' not in said, said.decode(errors="replace")

    def gateway_rss(self) -> int:
        """Resident bytes of all gateway processes."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.gateways]
        lines = [line for text in texts for line in text.splitlines() if line.startswith("VmRSS")]
        return sum(int(line.split()[1]) for line in lines) * 1024


INGRESSES = [
    pytest.param(("local", "direct"), id="direct"),
    pytest.param(("local", "envoy"), id="envoy"),
    pytest.param(("ray", "serve"), id="serve", marks=(pytest.mark.ray, pytest.mark.long)),
]


@pytest.fixture(scope="session", params=INGRESSES)
def shared_target(
    request: pytest.FixtureRequest,
    echo_root: Path,
    hostile_limits: dict[str, Any],
    running: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Target]:
    engine, ingress = request.param
    with contextlib.ExitStack() as stack:
        if ingress == "serve":  # as Ray takes long to start, others use it too
            instance = request.getfixturevalue("behind_serve")
        else:
            workdir = tmp_path_factory.mktemp("run")
            instance = stack.enter_context(
                running(echo_root, workdir, engine, ingress, listen=hostile_limits)
            )
        target = Target(instance)
        yield target
        target.close()


@pytest.fixture
def target(shared_target: Target) -> Iterator[Target]:
    """The instance; after the test it must be alive and still right."""
    yield shared_target
    shared_target.still_right()
