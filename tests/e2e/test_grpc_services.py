"""What gRPC tools look for: reflection and the health protocol's `Watch`, with real clients."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from serving.protocol.pb import health_pb2

pytestmark = pytest.mark.e2e
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
COMBINATIONS = [
    pytest.param(("local", "direct"), id="local-direct"),
    pytest.param(("local", "envoy"), id="local-envoy"),
    pytest.param(("ray", "serve"), id="ray-serve", marks=(pytest.mark.ray, pytest.mark.long)),
]


@pytest.fixture(scope="module", params=COMBINATIONS)
def server(
    request: pytest.FixtureRequest,
    make_lab: Callable[..., Path],
    running: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    engine, ingress = request.param
    with running(make_lab(), tmp_path_factory.mktemp("services"), engine, ingress) as started:
        yield started


class Watcher:
    """A `Watch` whose statuses arrive in a queue; its last item is the code that ended it."""

    def __init__(self, address: str, service: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._call = self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service=service))
        self._seen: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for answer in self._call:
                self._seen.put(answer.status)
        except grpc.RpcError as error:
            self._seen.put(error.code())

    def next(self) -> Any:
        return self._seen.get(timeout=60)

    def leave(self) -> None:
        self._call.cancel()
        self._thread.join()
        self._channel.close()


def test_a_client_without_our_files_infers(instance: Any) -> None:
    with grpc.insecure_channel(instance.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = list(database.get_services())
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(services)
        pool = DescriptorPool(database)
        for service in services:
            assert pool.FindServiceByName(service).full_name == service
        with pytest.raises(KeyError):
            pool.FindServiceByName("inference.Nothing")
        method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name[
            "ModelInfer"
        ]
        request = GetMessageClass(method.input_type)(model_name="lab", id="dynamic")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(np.array([1, 0, 2, 3], np.float32).tobytes())
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = infer(request, timeout=60)
    assert answer.id == "dynamic"
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).sum() == pytest.approx(1)


def test_watch_tells_what_is_so(instance: Any) -> None:
    watchers = [Watcher(instance.grpc, name) for name in ("", "lab", "nothing")]
    assert [watcher.next() for watcher in watchers] == [SERVING, SERVING, SERVICE_UNKNOWN]
    for watcher in watchers:
        watcher.leave()
        assert watcher.next() is grpc.StatusCode.CANCELLED


def test_watch_tells_of_a_dead_replica_and_of_its_successor(server: Any) -> None:
    watcher = Watcher(server.grpc, "lab")
    assert watcher.next() == SERVING
    (replica,) = server.members("replica")
    os.kill(replica["pid"], signal.SIGKILL)
    assert watcher.next() == NOT_SERVING
    assert watcher.next() == SERVING
    watcher.leave()


@pytest.mark.parametrize("ingress", ["direct", "envoy"])
def test_a_drain_ends_a_watch(
    make_lab: Callable[..., Path], running: Callable[..., Any], tmp_path: Path, ingress: str
) -> None:
    with running(make_lab(), tmp_path, "local", ingress, drain_timeout_s=300) as started:
        watchers = [Watcher(started.grpc, name) for name in ("", "lab")]
        assert [watcher.next() for watcher in watchers] == [SERVING, SERVING]
        started.process.send_signal(signal.SIGTERM)
        for watcher in watchers:
            assert watcher.next() == NOT_SERVING
            assert watcher.next() is grpc.StatusCode.UNAVAILABLE
            watcher.leave()
        assert started.process.wait(60) == 0, started.log.read_text()
