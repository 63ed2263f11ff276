"""Fakes of what the data plane talks to: a replica that answers when told, and an observer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import Batching, ModelConfig, Replicas
from serving.dataplane.batching.batch import Batch, Pending
from serving.dataplane.batching.batcher import ModelQueue
from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.hook import BatchHook
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.records import BatchDone, RequestRefused
from serving.dataplane.links.link import ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
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

    def guard_time(self, guard: str, nanoseconds: int) -> None:
        self._note("guard_time", guard)

    def guard_decisions(self, result: Any) -> None:
        self._note("guard_decisions", result)

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
    """A queue with a fake observer, and requests whose rows name them."""

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
        self.queue = ModelQueue(
            "m",
            ("x",),
            Batching(**batching),
            list(guards),
            self.observer,
            row_bytes,
            replicas=replicas,
            ends=ends,
        )
        self.items: list[Pending] = []

    def ask(
        self,
        ident: str,
        values: Any = (1.0,),
        timeout_s: float | None = None,
        width: int = 2,
        lane: Any = "",
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
        item = Pending(ident, bound, future, more.pop("enqueued", 0.0), lane, context, **more)
        if priority:
            item.priority, item.lane = priority, (priority, lane)
        self.queue.submit(item, timeout_s)
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
