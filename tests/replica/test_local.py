"""Batches computed here, over a real channel, by a model that computes elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.channel.connection import Connection
from serving.channel.endpoint import connect
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.inference import BatchMeta, ResultMeta
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.control.registry import Registry
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.contract import Capabilities, Prediction
from serving.models.preparation.prepare import Prepared
from serving.protocol.messages import Tensor
from serving.replica import local
from serving.replica.gpu import GpuTime
from serving.replica.local import LocalBatches
from serving.replica.server import ReplicaServer
from serving.roles.served_entry import served_entry
from serving.telemetry.counters import SeriesSet


class Gated:
    """Doubles x, each batch only when its gate is opened; a batch is known by its first value."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.gates: dict[float, asyncio.Event] = {}

    async def predict_async(self, inputs, *, features):
        await self.gates.setdefault(float(inputs["x"][0, 0]), asyncio.Event()).wait()
        return Prediction(self.predict(inputs))

    def predict(self, inputs):
        if (inputs["x"] == 666).any():
            raise ModelFailed("poison row")
        if (inputs["x"] == 667).any():
            raise SystemExit(3)
        return {"y": inputs["x"] * 2}

    def predict_with_features(self, inputs):
        raise AssertionError("no guard asks for them")

    def module(self):
        raise AssertionError("nobody explains")


def toy(folder: Path) -> ServedModel:
    config = ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 1])],
        outputs=[OutputSpec(name="y", datatype="FP32", shape=[-1, 1])],
    )
    return ServedModel("toy", "1", config.model_dump_json().encode(), str(folder))


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def series() -> SeriesSet:
    return SeriesSet()


@pytest.fixture
def batches(tmp_path: Path, gated: Gated, series: SeriesSet, monkeypatch) -> LocalBatches:
    monkeypatch.setattr(local, "prepare", lambda entry, device: Prepared(gated, "not compared"))
    return LocalBatches(served_entry(toy(tmp_path)), series)


@pytest.fixture
async def server(tmp_path: Path, gated: Gated, batches) -> AsyncIterator[ReplicaServer]:
    served = toy(tmp_path)
    registry = Registry()
    await registry.start(f"unix:{tmp_path}/registry.sock")
    here, registry_address = f"unix:{tmp_path}/r.sock", f"unix:{tmp_path}/registry.sock"
    entry = served_entry(served)
    made = ReplicaServer(served, entry, batches, SeriesSet(), "r-0", here, registry_address)
    made.load()
    await made.start()
    yield made
    for gate in gated.gates.values():
        gate.set()
    if (tmp_path / "r.sock").exists():  # else a test has stopped it already
        await made.stop()
    registry.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def ask(
    server: ReplicaServer, tmp_path: Path
) -> AsyncIterator[Callable[..., asyncio.Future]]:
    connection: Connection = await connect(f"unix:{tmp_path}/r.sock")

    def infer(*values: float, rows: tuple[int, ...] | None = None) -> asyncio.Future:
        x = np.array(values, np.float32)[:, None]
        meta = BatchMeta(rows or (1,) * len(values))
        return connection.request("infer", meta, [Tensor("x", "FP32", x.shape, x)])

    yield infer
    connection.close()


def values(message):
    return message.tensors[0].data.ravel().tolist()


async def test_two_batches_are_under_way_and_each_gets_its_own_answer(
    batches, gated, ask, eventually
) -> None:
    first, second = ask(1, 2), ask(10)
    await eventually(lambda: gated.gates.keys() == {1, 10})
    assert batches.busy_since is not None
    gated.gates[10].set()
    assert values(await second) == [20]
    assert not first.done()
    assert batches.busy_since is not None
    gated.gates[1].set()
    assert values(await first) == [2, 4]
    await eventually(lambda: batches.busy_since is None)
    assert batches.batches == 2


async def test_the_poison_fails_alone(gated, ask, eventually) -> None:
    answer = ask(1, 666, 3)
    await eventually(lambda: gated.gates)
    gated.gates[1].set()
    message = await answer
    meta = msgspec.msgpack.decode(message.meta, type=ResultMeta)
    assert meta.failed == {1: "poison row"}
    assert values(message) == [2, 6]


async def test_whatever_a_batch_raises_is_its_answer(gated, ask) -> None:
    gated.gates[667] = asyncio.Event()
    gated.gates[667].set()
    with pytest.raises(ModelFailed, match="replica failed: SystemExit: 3"):
        await ask(667)
    gated.gates[1] = gated.gates[667]
    assert values(await ask(1)) == [2]


async def test_a_malformed_batch_is_refused(ask) -> None:
    with pytest.raises(InvalidInput, match="does not hold the rows that it names"):
        await ask(1, 2, rows=(1, 4))


async def test_what_is_no_batch_is_refused(server, tmp_path, ask) -> None:
    connection = await connect(f"unix:{tmp_path}/r.sock")
    with pytest.raises(Unsupported, match="a replica does not answer 'explain'"):
        await connection.request("explain", None)
    connection.close()


def test_what_it_offers_is_known_once_it_is_loaded(batches, gated) -> None:
    assert batches.capabilities == Capabilities()
    gated.capabilities = Capabilities(features=True)
    batches.load()
    assert batches.capabilities is gated.capabilities


async def test_stopping_waits_for_what_is_under_way(server, gated, ask, eventually) -> None:
    answer = ask(5)
    await eventually(lambda: gated.gates)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.5)
    assert not stopping.done()
    gated.gates[5].set()
    assert values(await answer) == [10]
    await stopping


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has replicas believe that they compute on a GPU; what they say of it."""
    told: list[bool] = []

    class Told(GpuTime):
        def busy(self, computing: bool, now: float) -> None:
            told.append(computing)
            super().busy(computing, now)

    monkeypatch.setattr(local, "gpu_time", lambda series, entry: Told(series, entry, "GPU-1"))
    return told


async def test_a_gpu_is_used_while_a_batch_is_under_way(
    on_gpu, series, gated, ask, eventually
) -> None:
    first, second = ask(1), ask(10)
    await eventually(lambda: gated.gates.keys() == {1, 10})
    gated.gates[10].set()
    await second
    gated.gates[1].set()
    await first
    await eventually(lambda: on_gpu == [True, True, True, False])
    (spent,) = (each for each in series.snapshot() if each.name == "vigil.model.gpu.time")
    assert spent.value > 0


async def test_a_gpu_is_used_for_a_batch_that_is_waited_for(on_gpu, series, batches) -> None:
    batches.load()
    x = Tensor("x", "FP32", (1, 1), np.ones((1, 1), np.float32))
    meta = memoryview(msgspec.msgpack.encode(BatchMeta((1,))))
    await batches.infer(Message("infer", 1, meta, [x]))
    assert on_gpu == [True, False]
