"""`drain_delay_s`: at SIGTERM an instance is not ready at once, and answers for a while yet.

The delay is far longer than the test wherever what is seen must be seen within it: a second signal
ends it.
"""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from serving.protocol.pb import health_pb2, health_pb2_grpc
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import open_inference_pb2_grpc as pb_grpc

pytestmark = pytest.mark.e2e

LONG_S = 300
DELAY_S = 3
"""What one test waits for."""
SETUPS = [
    pytest.param(("local", "direct"), id="local-direct"),
    pytest.param(("local", "envoy"), id="local-envoy", marks=pytest.mark.long),
    # Each start of Ray takes long, and test_faults.py ends one.
    pytest.param(("ray", "direct"), id="ray-direct", marks=[pytest.mark.ray, pytest.mark.long]),
    pytest.param(("ray", "serve"), id="ray-serve", marks=[pytest.mark.ray, pytest.mark.long]),
]
ROW = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 0.0, 2.0, 3.0]}
BODY = json.dumps({"inputs": [ROW]}).encode()


class Client:
    """Asks one instance everything that a load balancer and a client ask."""

    def __init__(self, instance: Any) -> None:
        self.http = httpx.Client(base_url=instance.url, timeout=60)
        self.channel = grpc.insecure_channel(instance.grpc)
        self.inference = pb_grpc.GRPCInferenceServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def statuses(self, service: str = "") -> Iterator[str]:
        """Yield the names of what `Watch` tells."""
        request = health_pb2.HealthCheckRequest(service=service)
        for answer in self.health.Watch(request, timeout=120):
            yield health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def ready(self) -> list[bool]:
        """Return what each way to ask for the server's readiness says."""
        serving = health_pb2.HealthCheckResponse.SERVING
        return [
            self.http.get("/v2/health/ready").status_code == 200,
            self.inference.ServerReady(pb.ServerReadyRequest()).ready,
            self.health.Check(health_pb2.HealthCheckRequest()).status == serving,
            self.health.Check(health_pb2.HealthCheckRequest(service="lab")).status == serving,
        ]

    def require_answers(self) -> None:
        """Ask for an inference on both protocols, for liveness and for the model."""
        answer = self.http.post("/v2/models/lab/infer", content=BODY)
        assert answer.status_code == 200, answer.text
        request = pb.ModelInferRequest(model_name="lab")
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        tensor.contents.fp32_contents.extend([1.0, 0.0, 2.0, 3.0])
        assert list(self.inference.ModelInfer(request, timeout=60).outputs[0].shape) == [1, 3]
        assert self.http.get("/v2/health/live").status_code == 200
        assert self.http.get("/v2/models/lab/ready").status_code == 200
        assert self.inference.ModelReady(pb.ModelReadyRequest(name="lab")).ready

    def close(self) -> None:
        self.http.close()
        self.channel.close()


def _leaves_and_answers(instance: Any, eventually: Callable[..., Any]) -> None:
    old = Client(instance)
    watched = old.statuses()
    assert next(watched) == "SERVING"
    assert all(old.ready())
    old.require_answers()
    instance.process.send_signal(signal.SIGTERM)
    # Told, not found out by asking again; and the stream goes on.
    assert next(watched) == "NOT_SERVING"
    eventually("not ready", lambda: not any(old.ready()))
    admin = httpx.get(f"{instance.admin}/readyz", timeout=60)
    assert admin.status_code == 503
    assert "about to stop" in admin.text
    old.require_answers()
    new = Client(instance)  # the listeners are open
    new.require_answers()
    assert not any(new.ready())
    assert instance.process.poll() is None
    instance.process.send_signal(signal.SIGTERM)
    assert instance.process.wait(60) == 0, instance.log.read_text()[-5000:]
    new.close()
    old.close()


@pytest.mark.parametrize("setup", SETUPS)
def test_it_is_not_ready_at_once_and_answers_until_a_second_signal(
    setup: tuple[str, str],
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    eventually: Callable[..., Any],
    tmp_path: Path,
) -> None:
    with running(make_lab(), tmp_path, *setup, drain_delay_s=LONG_S) as instance:
        _leaves_and_answers(instance, eventually)


@pytest.mark.long
def test_watch_does_the_same(
    running: Callable[..., Any],
    watching: Callable[..., Any],
    make_lab: Callable[..., Path],
    eventually: Callable[..., Any],
    tmp_path: Path,
) -> None:
    for name in ("upstream", "watch"):
        (tmp_path / name).mkdir()
    with (
        running(make_lab(), tmp_path / "upstream") as upstream,
        watching(
            f"127.0.0.1:{upstream.http_port}", tmp_path / "watch", f"--drain-delay-s={LONG_S}"
        ) as instance,
    ):
        _leaves_and_answers(instance, eventually)


def test_the_delay_ends_by_itself_and_no_request_before_its_end_fails(
    running: Callable[..., Any], make_lab: Callable[..., Path], tmp_path: Path
) -> None:
    with running(make_lab(), tmp_path, drain_delay_s=DELAY_S) as instance:
        client = Client(instance)
        client.require_answers()
        began = time.monotonic()
        instance.process.send_signal(signal.SIGTERM)
        answered = 0
        with contextlib.suppress(httpx.TransportError):  # the end
            while instance.infer("lab", [ROW]).status_code == 200:  # each over its own connection
                answered += 1
        assert time.monotonic() - began >= DELAY_S
        assert answered
        client.close()
        assert instance.process.wait(60) == 0, instance.log.read_text()[-5000:]
