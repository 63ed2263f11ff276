"""Streams over gRPC on both own ingresses: clients that leave, and clients that are silent."""

import queue
import signal
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol.pb import open_inference_pb2 as pb

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.not_on("serve", reason="it has no streams"),
]
SERVING, NOT_SERVING = 1, 2
PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
LONGER_THAN_SLOW_CLIENTS_MAY_TAKE_S = 65.0


@pytest.fixture
def server(shared_lab: Any) -> Any:
    return shared_lab


class Stream:
    """A stream whose requests are sent one by one."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._requests: queue.Queue[Any] = queue.Queue()
        self._call = self._channel.stream_stream(
            PATH,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )(iter(self._requests.get, None))

    def send(self, ident: str, gate: Any = None) -> None:
        """Send a request; it stops at `gate`, if one is given."""
        message = pb.ModelInferRequest(model_name="lab", id=ident)
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        row = np.array([1, gate.row if gate else 0, 2, 3], np.float32)
        message.raw_input_contents.append(row.tobytes())
        self._requests.put(message)

    def answer(self) -> Any:
        return next(self._call)

    def end(self) -> None:
        self._requests.put(None)
        assert list(self._call) == []
        self._channel.close()

    def leave(self) -> None:
        self._call.cancel()
        self._requests.put(None)
        self._channel.close()


def test_each_answer_comes_before_the_next_request(server: Any) -> None:
    stream = Stream(server.grpc)
    for number in range(5):
        stream.send(str(number))
        assert stream.answer().infer_response.id == str(number)
    stream.end()


def test_a_client_that_leaves_takes_its_requests_along(
    server: Any, eventually: Callable[..., Any], close_gate: Callable[..., Any]
) -> None:
    server.settle()
    before = server.metric("vigil_inference_requests_total", outcome="abandoned")
    stream = Stream(server.grpc)
    stream.send("first")
    assert stream.answer().infer_response.id == "first"
    gate = close_gate(server)
    for number in range(8):
        stream.send(str(number), gate)
    eventually("one is computed", gate.reached)
    stream.leave()
    eventually(
        "the rest is abandoned",
        lambda: server.metric("vigil_inference_requests_total", outcome="abandoned") > before,
    )
    gate.open()
    again = Stream(server.grpc)
    again.send("again")
    assert again.answer().infer_response.id == "again"
    again.end()


@pytest.mark.long
def test_a_stream_may_be_silent(server: Any) -> None:
    stream, never_used = Stream(server.grpc), Stream(server.grpc)
    stream.send("before")
    assert stream.answer().infer_response.id == "before"
    time.sleep(LONGER_THAN_SLOW_CLIENTS_MAY_TAKE_S)
    for each in (stream, never_used):
        each.send("after")
        assert each.answer().infer_response.id == "after"
        each.end()


@pytest.mark.ends_instance
def test_streams_and_watches_end_with_a_stop(
    server: Any,
    eventually: Callable[..., Any],
    close_gate: Callable[..., Any],
    make_watcher: Callable[..., Any],
) -> None:
    """What is in flight is answered; then each ends with a status, idle or not."""
    watchers = [make_watcher(server, name) for name in ("", "lab")]
    assert [watcher.next() for watcher in watchers] == [SERVING, SERVING]
    idle, busy = Stream(server.grpc), Stream(server.grpc)
    for stream in (idle, busy):
        stream.send("first")
        assert stream.answer().infer_response.id == "first"
    gate = close_gate(server)
    busy.send("slow", gate)
    eventually("it is computed", gate.reached)
    server.process.send_signal(signal.SIGTERM)
    eventually("it stops", server.stops)
    # Told while something is still computed.
    assert [watcher.next() for watcher in watchers] == [NOT_SERVING, NOT_SERVING]
    gate.open()
    assert busy.answer().infer_response.id == "slow"
    for stream in (idle, busy):
        with pytest.raises(grpc.RpcError) as caught:
            stream.answer()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    for watcher in watchers:
        assert watcher.next() is grpc.StatusCode.UNAVAILABLE
    # A fifth of the time for which an open stream would have held it.
    assert server.process.wait(60) == 0, server.log.read_text()
    for stream in (idle, busy):
        stream.leave()
