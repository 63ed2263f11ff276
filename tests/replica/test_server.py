"""A replica over its real channel, whatever answers its batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel import frames
from serving.channel.busy_poll import BusyPoll
from serving.channel.connection import Connection
from serving.channel.endpoint import connect
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.inference import BatchMeta, ResultMeta
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.control.registry import Registry
from serving.errors import InvalidInput, Unsupported
from serving.models.contract import Capabilities
from serving.protocol.messages import Tensor
from serving.replica.batch_handler import Reply, require_infer, tensors_of, told
from serving.replica.server import ReplicaServer
from serving.roles.served_entry import served_entry
from serving.telemetry.counters import SeriesSet


class Negation:
    """Answers with -x, when it is let."""

    slots = 7
    capabilities = Capabilities(differentiable=True)
    batches = 0
    busy_since: float | None = None

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = asyncio.Event()

    def load(self) -> None:
        self.calls.append("load")

    def start(self, _busy_poll: BusyPoll) -> None:
        self.calls.append("start")

    def message(self, connection: Connection, message: Message) -> None:
        try:
            require_infer(message)
            connection.reply(message.id, *self._answer(message))
        except Exception as error:
            connection.fail(message.id, told(error))

    async def infer(self, message: Message) -> Reply:
        return self._answer(message)

    def _answer(self, message: Message) -> Reply:
        (x,) = message.tensors
        if not x.shape[0]:
            raise InvalidInput("no rows")
        self.batches += 1
        return ResultMeta({}, (), 5, 0), tensors_of({"y": -x.data}, {"y": "FP32"})

    async def drained(self) -> None:
        self.calls.append("drained")
        await self.gate.wait()

    async def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def batches() -> Negation:
    return Negation()


@pytest.fixture
async def registry(tmp_path: Path, eventually: Any) -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start(f"unix:{tmp_path}/registry.sock")
    yield registry
    await eventually(lambda: not registry.directory.members)  # the replica has left
    registry.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def server(
    tmp_path: Path, registry: Registry, batches: Negation, eventually: Any
) -> AsyncIterator[ReplicaServer]:
    config = ModelConfig(
        format="torch_export",
        inputs=[InputSpec(name="x", datatype="FP32", shape=[-1, 1])],
        outputs=[OutputSpec(name="y", datatype="FP32", shape=[-1, 1])],
    )
    served = ServedModel("toy", "1", config.model_dump_json().encode(), str(tmp_path))
    here, registry_address = f"unix:{tmp_path}/r.sock", f"unix:{tmp_path}/registry.sock"
    entry = served_entry(served)
    made = ReplicaServer(served, entry, batches, SeriesSet(), "r-0", here, registry_address)
    made.load()
    await made.start()
    await eventually(lambda: registry.directory.of_role("replica"))
    yield made
    batches.gate.set()
    if (tmp_path / "r.sock").exists():  # else a test has stopped it already
        await made.stop()


def batch(*values: float) -> list[Tensor]:
    x = np.array(values, np.float32)[:, None]
    return [Tensor("x", "FP32", x.shape, x)]


async def test_it_registers_what_its_handler_says(
    server: ReplicaServer, registry: Registry
) -> None:
    (member,) = registry.directory.of_role("replica")
    assert (member.id, member.model, member.slots) == ("r-0", "toy", 7)
    assert member.capabilities == ("differentiable",)


async def test_batches_over_the_channel_and_as_frames(
    server: ReplicaServer, tmp_path: Path
) -> None:
    connection = await connect(f"unix:{tmp_path}/r.sock")
    message = await connection.request("infer", BatchMeta((2,)), batch(1, 2))
    assert message.tensors[0].data.ravel().tolist() == [-1, -2]
    with pytest.raises(Unsupported, match="does not answer 'dance'"):
        await connection.request("dance", BatchMeta((1,)), batch(1))
    frame = b"".join(frames.encode("infer", 1, BatchMeta((1,)), batch(3)))
    answer = frames.decode(memoryview(await server.infer_frame(frame))[4:])
    assert answer.tensors[0].data.ravel().tolist() == [-3]
    assert msgspec.msgpack.decode(answer.meta, type=ResultMeta).compute_ns == 5
    connection.close()


async def test_an_error_of_a_frame_is_raised(server: ReplicaServer) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        await server.infer_frame(b"".join(frames.encode("infer", 1, BatchMeta(()), batch())))


async def test_a_report_has_the_processor_time_of_the_version(server: ReplicaServer) -> None:
    told = {item.name: item for item in server._report().series}
    spent = told["vigil.model.cpu.time"]
    assert spent.value > 0
    assert dict(spent.attributes) == {"model": "toy", "version": "1", "role": "replica"}


async def test_how_long_a_batch_has_computed_can_be_asked(
    server: ReplicaServer, batches: Negation
) -> None:
    assert server.busy_s == 0.0
    batches.busy_since = time.monotonic() - 5
    assert 5 <= server.busy_s <= server._report().status.busy_s


async def test_stopping_waits_for_the_handler_and_then_closes_it(
    server: ReplicaServer, batches: Negation, tmp_path: Path, eventually: Any
) -> None:
    connection = await connect(f"unix:{tmp_path}/r.sock")
    stopping = asyncio.create_task(server.stop())
    await eventually(lambda: "drained" in batches.calls)
    assert not connection.closed
    assert not stopping.done()
    batches.gate.set()
    await stopping
    assert batches.calls == ["load", "start", "drained", "close"]
    connection.close()
