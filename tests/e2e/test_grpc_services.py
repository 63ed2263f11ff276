"""What gRPC tools look for: reflection and the health protocol's `Watch`, with real clients."""

import os
import signal
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

pytestmark = pytest.mark.e2e
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


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


def test_watch_tells_what_is_so(instance: Any, make_watcher: Callable[..., Any]) -> None:
    watchers = [make_watcher(instance, name) for name in ("", "lab", "nothing")]
    assert [watcher.next() for watcher in watchers] == [SERVING, SERVING, SERVICE_UNKNOWN]
    for watcher in watchers:
        watcher.leave()
        assert watcher.next() is grpc.StatusCode.CANCELLED


def test_watch_tells_of_a_dead_replica_and_of_its_successor(
    shared_lab: Any, make_watcher: Callable[..., Any]
) -> None:
    watcher = make_watcher(shared_lab, "lab")
    assert watcher.next() == SERVING
    (replica,) = shared_lab.members("replica")
    os.kill(replica["pid"], signal.SIGKILL)
    assert watcher.next() == NOT_SERVING
    assert watcher.next() == SERVING
    watcher.leave()
