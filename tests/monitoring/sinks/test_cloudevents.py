"""The sink posts to real receivers: right ones, dead ones, slow ones, and those that refuse."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import FAILED, EventMeta, Position
from serving.config import CloudEvents, ModelConfig
from serving.monitoring.sinks.cloudevents import CloudEventSink
from serving.protocol.cloudevents import REQUEST, RESPONSE
from serving.protocol.messages import Tensor

CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
)
SERVED = ServedModel("m", "1", CONFIG.model_dump_json().encode(), "nowhere")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def receiver(http_servers: ModuleType) -> Iterator[Any]:
    with http_servers.in_thread(http_servers.EventReceiver()) as receiver:
        yield receiver


@pytest.fixture
def sink_to() -> Iterator[Callable[..., CloudEventSink]]:
    sinks: list[CloudEventSink] = []

    def make(url: str, **section: Any) -> CloudEventSink:
        sink = CloudEventSink(CloudEvents(url=url, **section), pause_s=0.001)
        sinks.append(sink)
        sink.serve([SERVED])
        sink.start()
        return sink

    yield make
    for sink in sinks:
        sink.close(0)


def offer(sink: CloudEventSink, *idents: str, number: int = 0, **changed: Any) -> None:
    rows = np.ones((len(idents), 1), np.float32)
    meta = EventMeta(
        Position("g", 1, number, 0, 0), "m", "1", 100.0, list(idents), [1] * len(idents), {}
    )
    tensors = [Tensor(name, "FP32", rows.shape, rows) for name in ("in:x", "out:y")]
    sink.taken_in(msgspec.structs.replace(meta, **changed), tensors, 100.0, replayed=False)


def counts(sink: CloudEventSink) -> dict[str, float]:
    return {
        dict(series.attributes).get("reason", "posted"): series.value
        for series in sink.snapshot()
        if series.value
    }


def test_pairs_go_out_in_batches(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, batch=4, interval_s=60)
    offer(sink, "a", "b", "c")
    until(lambda: counts(sink) == {"posted": 2})
    [(headers, _)] = receiver.posts
    assert headers["content-type"] == "application/cloudevents-batch+json"
    offer(sink, "d", number=1)
    until(lambda: counts(sink) == {"posted": 4})
    events = receiver.events()
    assert [event["type"] for event in events] == [REQUEST, RESPONSE] * 4
    assert [event["data"]["id"] for event in events] == list("aabbccdd")
    assert [events[at]["id"] == events[at + 1]["id"] for at in range(0, 8, 2)] == [True] * 4
    assert len({event["id"] for event in events}) == 4


def test_a_batch_that_is_not_full_leaves_after_the_interval(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, batch=1000, interval_s=0.01)
    offer(sink, "a")
    until(lambda: counts(sink) == {"posted": 1})


def test_binary_mode_posts_events_one_by_one(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, mode="binary")
    offer(sink, "a")
    until(lambda: counts(sink) == {"posted": 1})
    (asked, body), (answered, _) = receiver.posts
    assert (asked["ce-type"], answered["ce-type"]) == (REQUEST, RESPONSE)
    assert asked["ce-id"] == answered["ce-id"]
    assert (asked["ce-inferenceservicename"], asked["content-type"]) == ("m", "application/json")
    assert json.loads(body)["id"] == "a"


def test_what_has_no_answer_is_no_pair(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, batch=2)
    offer(sink, "x", kind=FAILED)
    offer(sink, "a", number=1)
    until(lambda: counts(sink) == {"posted": 1})
    assert receiver.events()[0]["data"]["id"] == "a"


def test_a_receiver_that_fails_for_a_while_gets_every_event(receiver: Any, sink_to: Any) -> None:
    receiver.answers = [500, 503, 429]
    sink = sink_to(receiver.url, batch=2)
    offer(sink, "a")
    until(lambda: counts(sink) == {"posted": 1})
    assert len(receiver.posts) == 4
    assert len({body for _, body in receiver.posts}) == 1


def test_a_receiver_that_always_fails_costs_what_it_was_sent(receiver: Any, sink_to: Any) -> None:
    receiver.answers = [500] * 4
    sink = sink_to(receiver.url, batch=2)
    offer(sink, "a")
    offer(sink, "b", number=1)
    until(lambda: counts(sink) == {"failed": 1, "posted": 1})


def test_what_is_refused_is_not_sent_again(receiver: Any, sink_to: Any) -> None:
    receiver.answers = [400]
    sink = sink_to(receiver.url, batch=2)
    offer(sink, "a")
    until(lambda: counts(sink) == {"refused": 1})
    assert len(receiver.posts) == 1


def test_nobody_listens(sink_to: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sink = sink_to(f"http://127.0.0.1:{free.getsockname()[1]}", batch=2)
        for number in range(5):
            offer(sink, "a", number=number)
        until(lambda: counts(sink) == {"failed": 5})


def test_a_receiver_that_answers_a_byte_at_a_time_is_given_up(receiver: Any, sink_to: Any) -> None:
    receiver.drip = 1
    sink = sink_to(receiver.url, batch=2, timeout_s=0.1)
    offer(sink, "a")
    until(lambda: counts(sink) == {"failed": 1})
    assert len(receiver.posts) == 4


def test_once_the_status_is_there_an_endless_answer_is_no_failure(
    receiver: Any, sink_to: Any
) -> None:
    receiver.drip = 200
    sink = sink_to(receiver.url, batch=2, timeout_s=3)  # within which a busy receiver answers
    offer(sink, "a")
    until(lambda: counts(sink) == {"posted": 1})
    assert len(receiver.posts) == 1


def test_a_connection_that_the_receiver_closed_is_opened_again(receiver: Any, sink_to: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = sink_to(f"http://127.0.0.1:{server.getsockname()[1]}/", batch=2)
        for number in range(2):  # keeps no connection, and does not say so
            offer(sink, "a", number=number)
            connection, _ = server.accept()
            with connection:
                got = b""
                while b"org.kubeflow.serving.inference.response" not in got or got[-1:] != b"]":
                    got += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            until(lambda done=number + 1: counts(sink) == {"posted": done})


def test_what_does_not_fit_is_dropped_and_nobody_waits(receiver: Any, sink_to: Any) -> None:
    receiver.hold = threading.Event()
    sink = sink_to(receiver.url, batch=2, queue_mib=1)
    offer(sink, "a")
    until(lambda: sink.waiting == 0)
    for number in range(8):
        offer(sink, *["b"] * 500, number=1 + number)  # 129 KiB each
    assert counts(sink) == {"queue": 500}
    assert sink.waiting == 7


def test_a_message_that_is_no_pair_costs_only_itself(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, batch=2)
    offer(sink, "a", version="7")
    offer(sink, "b", number=1)
    until(lambda: counts(sink) == {"incomplete": 1, "posted": 1})


def test_at_the_end_what_waits_is_posted(receiver: Any, sink_to: Any) -> None:
    sink = sink_to(receiver.url, batch=1000, interval_s=60)
    offer(sink, "a", "b")
    sink.close(30)
    assert counts(sink) == {"posted": 2}
    offer(sink, "c", number=1)
    assert counts(sink) == {"posted": 2, "stopped": 1}


def test_a_receiver_that_hangs_holds_up_no_end(receiver: Any, sink_to: Any) -> None:
    receiver.hold = threading.Event()
    sink = sink_to(receiver.url, batch=2, timeout_s=60)
    offer(sink, "a")
    offer(sink, "b", "c", number=1)
    until(lambda: sink.waiting <= 1)
    began = time.monotonic()
    sink.close(0.2)
    assert time.monotonic() - began < 30
    assert "posted" not in counts(sink)
