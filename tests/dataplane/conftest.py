"""Fakes of what the data plane talks to: a replica that answers when told, and an observer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from guards.runner import GuardRunner, GuardSetup
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.inference import BatchMeta, BatchResult, ResultMeta
from serving.config import Batching, ModelConfig, Replicas
from serving.dataplane.batching.batcher import Batcher
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.hook import BatchHook
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.records import BatchDone, RequestRefused
from serving.dataplane.links.link import ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.protocol.messages import InferRequest, Tensor
from serving.telemetry.counters import SeriesSet


class FakeLink:
    """A replica that doubles its input; by hand when `manual`."""

    def __init__(self, ident: str = "r0", slots: int = 1, *, manual: bool = False) -> None:
        self.id, self.slots = ident, slots
        self.busy = self.rows = 0
        self.open = True
        self.manual = manual
        self.held: list[tuple[Batch, asyncio.Future[BatchResult]]] = []
        self.sent: list[list[str]] = []
        self.batches: list[Batch] = []

    async def send(self, batch: Batch) -> BatchResult:
        self.sent.append([item.id for item in batch.items])
        self.batches.append(batch)
        if not self.manual:
            return self.result(batch)
        future: asyncio.Future[BatchResult] = asyncio.get_running_loop().create_future()
        self.held.append((batch, future))
        return await future

    def result(self, batch: Batch, **more: Any) -> BatchResult:
        fields: dict[str, Any] = {
            "failed": {},
            "guards": (),
            "compute_ns": 1000,
            "guard_ns": 0,
        }
        outputs = more.pop("outputs", {"y": batch.arrays[0] * 2})
        return BatchResult(outputs, ResultMeta(**{**fields, **more}))

    def answer(self, **more: Any) -> None:
        batch, future = self.held.pop(0)
        future.set_result(self.result(batch, **more))

    def fail(self, error: BaseException) -> None:
        self.held.pop(0)[1].set_exception(error)

    def die(self, begun: int | None = 0, busy_s: float = 0.0) -> None:
        """Be lost, at work on the first `begun` batches; None: nobody can say."""
        self.open = False
        held, self.held = self.held, []
        for place, (_batch, future) in enumerate(held):
            was = None if begun is None else place < begun
            future.set_exception(ReplicaLost(self.id, was, busy_s if was else 0.0))


class FakeObserver:
    """Writes down what it is told; raises when `broken`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.broken = False

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.broken:
            raise RuntimeError("the observer is broken")

    def guards_judged(self, results: Any) -> None:
        self._note("guards_judged", *results)

    def retried(self, requests: int) -> None:
        self._note("retried", requests)

    def deadly(self) -> None:
        self._note("deadly")

    def abandoned(self, reason: str, rows: int) -> None:
        self._note("abandoned", reason, rows)

    def answered(self, batch: Batch, result: BatchResult, now: float) -> None:
        self._note("answered", batch, result)


class Records:
    """Hooks that keep every record."""

    def __init__(self) -> None:
        self.batches: list[BatchDone] = []
        self.refusals: list[RequestRefused] = []

    def batch_done(self, done: BatchDone) -> None:
        self.batches.append(done)

    def request_refused(self, refused: RequestRefused) -> None:
        self.refusals.append(refused)


class Bench:
    """A batcher with a fake observer, and requests whose rows name them."""

    def __init__(
        self,
        guards: Any = (),
        row_bytes: int | None = 8,
        observer: Any = None,
        replicas: Replicas | None = None,
        ends: ReplicaEnds | None = None,
        **batching: Any,
    ) -> None:
        self.observer = observer or FakeObserver()
        self.batcher = Batcher(
            "m",
            ("x",),
            Batching(**batching),
            GuardRunner([GuardSetup(guard) for guard in guards]),
            self.observer,
            row_bytes,
            replicas=replicas,
            ends=ends,
        )
        self.queue = self.batcher.queue
        self.items: list[Pending] = []

    def ask(
        self,
        ident: str,
        values: Any = (1.0,),
        timeout_s: float | None = None,
        width: int = 2,
        flow: Any = "",
        priority: int = 0,
        **more: Any,
    ) -> asyncio.Future[Answer]:
        bound = more.pop("bound", None)
        if bound is None:
            column = np.asarray(values, np.float32)
            array = np.repeat(column[:, None], width, axis=1)
            bound = Bound((array,), len(array), ((width,),), (), None)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        context = RequestContext(disconnect=more.pop("receive", None))
        item = Pending(ident, bound, future, more.pop("enqueued", 0.0), flow, context, **more)
        if priority:
            item.priority, item.flow = priority, (priority, flow)
        self.batcher.submit(item, timeout_s)
        self.items.append(item)
        return item.future


@pytest.fixture(scope="session")
def make_link() -> type[FakeLink]:
    return FakeLink


@pytest.fixture(scope="session")
def make_bench() -> type[Bench]:
    return Bench


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture(scope="session")
def make_recorder() -> Callable[..., Recorder]:
    """Return what makes a recorder that tells these hooks of batches."""

    def make(*hooks: BatchHook, guards: tuple[str, ...] = (), refusals: Any = ()) -> Recorder:
        counters = EventCounters(SeriesSet(), "m", "1", guards)
        return Recorder(("m", "1", "r"), counters, hooks, tuple(refusals))

    return make


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ModelConfig]:
    def make(**changes: Any) -> ModelConfig:
        fields: dict[str, Any] = {
            "format": "torch_export",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            "monitors": {"drift": None},
            "explain": None,
        }
        return ModelConfig.model_validate({**fields, **changes})

    return make


class Replica:
    """A replica on a real socket that doubles; `hold` keeps answers back."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.hold = False
        self.held: list[tuple[Connection, Message]] = []
        self.wrong: Any = None
        self.asked = 0
        self.server = ChannelServer(self._message, slots=1)

    def _message(self, connection: Connection, message: Message) -> None:
        self.asked += 1
        if self.hold:
            self.held.append((connection, message))
        else:
            self.answer(connection, message)

    def answer(self, connection: Connection, message: Message) -> None:
        if self.wrong is not None:
            connection.reply(message.id, self.wrong)
            return
        (x,) = message.tensors
        y = Tensor("y", "FP32", x.shape, x.data * 2)
        msgspec.msgpack.decode(message.meta, type=BatchMeta)
        connection.reply(message.id, ResultMeta({}, (), 1, 0), [y])

    def release(self) -> None:
        self.hold = False
        for item in self.held:
            self.answer(*item)
        self.held.clear()

    def member(self, version: str = "1", ident: str = "r0") -> Member:
        return Member("replica", ident, 1, self.address, "m", version, slots=1)

    def cut(self) -> None:
        for connection in list(self.server.connections):
            connection.abort()


@pytest.fixture
async def make_replica(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Replica]]]:
    replicas: list[Replica] = []

    async def make() -> Replica:
        replica = Replica(f"unix:{tmp_path}/{len(replicas)}")
        await replica.server.start(replica.address)
        replicas.append(replica)
        return replica

    yield make
    for replica in replicas:
        replica.server.close()
        replica.cut()
    await asyncio.sleep(0.01)


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    yield plane
    plane.close()
    await asyncio.sleep(0.01)


@pytest.fixture
def served(make_config: Callable[..., Any]) -> Callable[..., ServedModel]:
    """Makes what a directory holds of a model; `changes` are of its configuration."""

    def make(
        name: str = "m", version: str = "1", example: Any = None, **changes: Any
    ) -> ServedModel:
        config = make_config(**changes).model_dump_json().encode()
        return ServedModel(name, version, config, "nowhere", example)

    return make


@pytest.fixture(scope="session")
def make_request() -> Callable[..., InferRequest]:
    """Makes a request of one row, both of whose values are `value`."""

    def make(name: str = "m", version: str = "", value: float = 1.0, **more: Any) -> InferRequest:
        data = np.full((1, 2), value, np.float32)
        return InferRequest(name, version, "id", (Tensor("x", "FP32", (1, 2), data),), **more)

    return make


@pytest.fixture(scope="session")
def ask(make_request: Any) -> Callable[..., Awaitable[float]]:
    """Asks a data plane and returns the first value of the answer."""

    async def ask(plane: DataPlane, *arguments: Any, **options: Any) -> float:
        async with asyncio.timeout(60):
            response = await plane.infer(make_request(*arguments, **options))
        return float(response.outputs[0].data[0, 0])

    return ask


@pytest.fixture(scope="session")
def outcomes() -> Callable[[DataPlane], dict[str, float]]:
    """Returns how often requests ended how."""

    def outcomes(plane: DataPlane) -> dict[str, float]:
        return {
            dict(series.attributes)["outcome"]: series.value
            for series in plane.snapshot()
            if series.name == "vigil.inference.requests" and series.value
        }

    return outcomes
