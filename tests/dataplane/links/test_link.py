"""Links over real sockets and through a handle: the same bytes, and every loss is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving import errors
from serving.channel import frames
from serving.channel.arena import LARGE
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer, connect
from serving.channel.frame_parts import Message
from serving.channel.messages.inference import BatchMeta, GuardResult, ResultMeta
from serving.config import InputSpec
from serving.dataplane.links.link import ChannelLink, HandleLink, ReplicaLost
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.protocol.messages import Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]
SPECS = {"x": InputSpec(name="x", datatype="FP32", shape=[-1, 2])}


def answer(message: Message) -> tuple[ResultMeta, list[Tensor]]:
    meta = msgspec.msgpack.decode(message.meta, type=BatchMeta)
    (sent,) = message.tensors
    doubled = sent.data * 2
    guards = (GuardResult("g", ((0, 2, "odd"),)),)
    return ResultMeta({1: str(meta.rows)}, guards, 5, 6), [
        Tensor("y", "FP32", doubled.shape, doubled)
    ]


@pytest.fixture
async def batch() -> Batch:
    items = []
    for number, rows in enumerate((1, 2)):
        array = np.full((rows, 2), number + 1, np.float32)
        bound = Bound((array,), rows, ((2,),), (), None)
        future = asyncio.get_running_loop().create_future()
        items.append(Pending(str(number), bound, future, 0.0))
    return Batch(("x",), items, 0.0)


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[ChannelServer]:
    def reply(connection: Connection, message: Message) -> None:
        connection.reply(message.id, *answer(message))

    server = ChannelServer(reply, slots=2)
    await server.start(f"unix:{tmp_path}/r")
    yield server
    server.close()
    for connection in list(server.connections):
        connection.abort()
    await asyncio.sleep(0.01)


def check(result: Any) -> None:
    assert result.outputs["y"].tolist() == [[2, 2], [4, 4], [4, 4]]
    assert result.meta.failed == {1: "(1, 2)"}
    assert result.meta.guards == (GuardResult("g", ((0, 2, "odd"),)),)
    assert (result.meta.compute_ns, result.meta.guard_ns) == (5, 6)


async def test_channel_link(replica: ChannelServer, batch: Batch, eventually: Wait) -> None:
    connection = await connect(replica.address)
    link = ChannelLink("r", connection, 2, SPECS)
    assert link.open
    check(await link.send(batch))
    replica.goaway()
    await eventually(lambda: not link.open)
    connection.abort()
    with pytest.raises(ReplicaLost):
        await link.send(batch)


async def test_handle_link(batch: Batch) -> None:
    async def call(frame: bytes) -> bytes:
        message = frames.decode(memoryview(frame)[4:])
        assert message.kind == "infer"
        return b"".join(frames.encode("reply", message.id, *answer(message)))

    check(await HandleLink("h", 2, SPECS, call).send(batch))


@pytest.mark.parametrize("error", [ReplicaLost("h"), errors.ModelFailed("no")])
async def test_handle_link_passes_errors_on(batch: Batch, error: Exception) -> None:
    async def call(_frame: bytes) -> bytes:
        raise error

    with pytest.raises(type(error)):
        await HandleLink("h", 2, SPECS, call).send(batch)


async def test_handle_link_does_not_take_noise_for_an_answer(batch: Batch) -> None:
    async def call(_frame: bytes) -> bytes:
        return b"\x04\0\0\0\xff\xff\xff\xff"

    with pytest.raises(frames.FrameError):
        await HandleLink("h", 2, SPECS, call).send(batch)


async def test_large_requests_are_joined_by_shared_memory_alone(replica: ChannelServer) -> None:
    link = ChannelLink("r", await connect(replica.address, None), 2, SPECS)
    rows = LARGE // 8 + 1

    def large(count: int) -> Batch:
        items = []
        for number in range(count):
            array = np.full((rows, 2), number + 1, np.float32)
            bound = Bound((array,), rows, ((2,),), (), None)
            future = asyncio.get_running_loop().create_future()
            items.append(Pending(str(number), bound, future, 0.0))
        return Batch(("x",), items, 0.0)

    await link.send(large(1))  # offers the memory
    for count in (1, 2, 3):
        batch = large(count)
        result = await link.send(batch)
        expected = np.repeat(np.arange(1, count + 1) * 2.0, rows)
        assert np.array_equal(result.outputs["y"][:, 0], expected)
        assert batch._arrays is None or count == 1  # nobody has joined them here
        assert link.connection._arena.used == 0  # type: ignore[union-attr]
    joined = large(2)
    assert joined.arrays[0].shape == (2 * rows, 2)
    result = await link.send(joined)
    assert result.outputs["y"].shape == (2 * rows, 2)
    link.connection.close()
