"""Clients over a carrier that answers what a test tells it to: what is asked, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import orjson
import pytest

from serving.errors import ModelFailed, ModelNotReady, Unreachable, VigilError
from serving.protocol.messages import Tensor
from serving.remote import client as module
from serving.remote.address import Address
from serving.remote.client import AsyncClient, Client, not_ready
from serving.remote.wire import NOTHING, Answer, UpstreamCall

HTTP = Address("http", "h", 1)
GRPC = Address("grpc", "h", 1)
X = [Tensor("x", "FP32", (2,), np.array([1, 2], np.float32))]
DEEP = b'{"u":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BINARY = {"extensions": ["other", "binary_tensor_data"]}
OUTPUTS = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [3]}]}
METADATA = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}


class Fake:
    """Blocking and asynchronous carrier: replies by path; `None` is silence."""

    def __init__(self) -> None:
        self.replies: dict[str, object] = {"/v2": {}}
        self.calls: list[UpstreamCall] = []
        self.timeouts: set[float] = set()
        self.closed = 0
        self.given_up = 0

    def _reply(self, call: UpstreamCall, timeout_s: float) -> Answer | VigilError | None:
        self.calls.append(call)
        self.timeouts.add(timeout_s)
        reply = self.replies[call.path]
        if reply is None or isinstance(reply, Answer | VigilError):
            return reply
        return Answer(reply if isinstance(reply, bytes) else orjson.dumps(reply))

    def cancel(self) -> None:
        self.given_up += 1

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


class Blocking(Fake):
    def send(self, call: UpstreamCall, timeout_s: float) -> Answer:
        reply = self._reply(call, timeout_s)
        if isinstance(reply, VigilError):
            raise reply
        assert reply is not None
        return reply

    def close(self) -> None:
        self.closed += 1


class Asynchronous(Fake):
    def ask(self, call: UpstreamCall, timeout_s: float, callback: Callable[..., None]) -> Fake:
        reply = self._reply(call, timeout_s)
        if reply is not None:
            callback(reply)  # before it returns, which it may
        return self

    async def alive(self) -> bool:
        return bool(self.calls)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def blocking(monkeypatch):
    fake = Blocking()
    monkeypatch.setattr(module, "open_carrier", lambda *_: fake)
    return fake


@pytest.fixture
def asynchronous(monkeypatch):
    fake = Asynchronous()
    monkeypatch.setattr(module, "open_async_carrier", lambda *_: fake)
    return fake


MODEL = "/v2/models/m/versions/1"
STRANGERS = [b"", b"<html>", b"[]", b'{"extensions":7}', b'{"extensions":"\xff"}', DEEP]


@pytest.mark.parametrize("body", STRANGERS)
def test_who_does_not_speak_the_protocol(blocking, body):
    blocking.replies["/v2"] = body
    with pytest.raises(ModelNotReady, match="does not speak the Open Inference Protocol"):
        Client(HTTP, 3)
    assert blocking.closed == 1


def test_who_is_not_there_costs_no_connection(blocking):
    blocking.replies["/v2"] = Unreachable("gone")
    with pytest.raises(Unreachable, match="gone"):
        Client(HTTP, 3)
    assert blocking.closed == 1


def test_a_grpc_server_is_not_asked_how_it_is_spoken_to(blocking):
    client = Client(GRPC, 3)
    assert blocking.calls == []
    client.close()
    assert blocking.closed == 1


@pytest.mark.parametrize("extensions", [{}, BINARY])
def test_tensors_are_binary_only_for_who_says_so(blocking, extensions):
    blocking.replies |= {"/v2": extensions, f"{MODEL}/infer": OUTPUTS}
    found = Client(HTTP, 3).infer("m", "1", X)
    assert found.tensors[0].data.tolist() == [3]
    body = blocking.calls[1].body
    assert body is not None
    assert body.endswith(X[0].data.tobytes()) is bool(extensions)
    assert blocking.timeouts == {3}


def test_a_client_asks_one_question_a_call(blocking):
    blocking.replies |= {
        f"{MODEL}/ready": b"",
        MODEL: METADATA,
        "/v2/repository/index": [{"name": "m", "version": "1", "state": "READY"}],
        f"{MODEL}/config": {"max_batch_size": 8},
    }
    client = Client(HTTP, 3)
    assert client.ready("m", "1") is True
    assert client.metadata("m", "1").inputs[0].name == "x"
    assert [one.name for one in client.index()] == ["m"]
    assert client.config("m", "1").max_batch_size == 8
    assert blocking.paths == ["/v2", *list(blocking.replies)[1:]]


def test_a_refusal_is_raised_and_leaves_the_connection_open(blocking):
    client = Client(HTTP, 3)
    blocking.replies[f"{MODEL}/ready"] = ModelNotReady("later")
    with pytest.raises(ModelNotReady, match="later"):
        client.ready("m", "1")
    assert blocking.closed == 0


async def test_how_it_speaks_is_asked_once_and_before_the_first_question(asynchronous):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies[f"{MODEL}/infer"] = OUTPUTS
    assert not client.speaks
    assert asynchronous.calls == []
    for _ in range(2):
        assert (await client.infer(NOTHING, X)).tensors[0].data.tolist() == [3]
    assert client.speaks
    assert asynchronous.paths == ["/v2", f"{MODEL}/infer", f"{MODEL}/infer"]
    assert asynchronous.timeouts == {3}


async def test_grpc_is_spoken_at_once(asynchronous):
    assert AsyncClient(GRPC, "m", "1", 3).speaks


@pytest.mark.parametrize("body", STRANGERS)
async def test_a_stranger_is_asked_again_next_time(asynchronous, body):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies["/v2"] = body
    for _ in range(2):
        with pytest.raises(ModelNotReady, match="does not speak"):
            await client.infer(NOTHING, X)
    assert not client.speaks
    assert asynchronous.paths == ["/v2", "/v2"]


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Unreachable("gone"), Unreachable, "gone"),
        (b"<html>", ModelFailed, "the upstream server's answer cannot be read"),
        (DEEP, ModelFailed, "the upstream server's answer cannot be read"),
    ],
)
async def test_who_asks_is_told_what_went_wrong(asynchronous, reply, kind, said):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies[f"{MODEL}/infer"] = reply
    with pytest.raises(kind, match=said):
        await client.infer(NOTHING, X)
    told: list[object] = []
    client.ask(NOTHING, X, told.append)
    (error,) = told
    assert type(error) is kind


async def test_a_fault_in_reading_is_told_too(asynchronous, monkeypatch):
    """Or who asked would wait for ever."""
    client = AsyncClient(GRPC, "m", "1", 3)
    monkeypatch.setattr(module.GrpcWire, "read_infer", lambda *_: 1 / 0)
    monkeypatch.setattr(asynchronous, "_reply", lambda *_: Answer(b""))
    told: list[object] = []
    client.ask(NOTHING, X, told.append)
    (error,) = told
    assert isinstance(error, ModelFailed)
    assert "division by zero" in error.message


async def test_who_gives_up_gives_up_the_call(asynchronous):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies[f"{MODEL}/infer"] = None
    task = asyncio.create_task(client.infer(NOTHING, X))
    while len(asynchronous.calls) < 2:  # noqa: ASYNC110 - the condition is the carrier's
        await asyncio.sleep(0)
    before = asynchronous.given_up
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asynchronous.given_up == before + 1


async def test_a_ready_model_tells_its_metadata(asynchronous):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies |= {f"{MODEL}/ready": {"ready": True}, MODEL: METADATA}
    assert (await client.require_ready()).inputs[0].name == "x"
    assert asynchronous.paths == ["/v2", f"{MODEL}/ready", MODEL]


async def test_one_that_is_not_ready_is_asked_nothing_more(asynchronous):
    client = AsyncClient(HTTP, "m", "1", 3)
    asynchronous.replies[f"{MODEL}/ready"] = {"ready": False}
    with pytest.raises(ModelNotReady) as told:
        await client.require_ready()
    assert told.value.message == "the upstream server http://h:1 says that model 'm' is not ready"
    assert told.value.retry_after_s == not_ready(HTTP, "m").retry_after_s == 1
    assert asynchronous.paths == ["/v2", f"{MODEL}/ready"]


async def test_life_and_end_are_the_carriers(asynchronous):
    client = AsyncClient(GRPC, "m", "1", 3)
    assert await client.alive() is False
    asynchronous.calls.append(UpstreamCall("/"))
    assert await client.alive() is True
    await client.close()
    assert asynchronous.closed == 1
