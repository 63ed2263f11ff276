"""Frames between gateway and replica: written, read, and once around through a Unix socket."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from typing import Any

import numpy as np
import pytest

from serving.channel import frames
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer, connect
from serving.channel.frame_parts import Message
from serving.channel.messages.inference import BatchMeta
from serving.protocol.messages import Tensor

SIZES = [(16, 30), (8, 3 * 224 * 224)]


def _tensor(shape: tuple[int, int]) -> Tensor:
    return Tensor("x", "FP32", shape, np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_write_and_read_a_frame(benchmark: Any, shape: tuple[int, int]) -> None:
    meta, tensors = BatchMeta((1,) * shape[0]), [_tensor(shape)]

    def around() -> Message:
        frame = b"".join(frames.encode("infer", 1, meta, tensors))
        return frames.decode(memoryview(frame)[4:])

    assert benchmark(around).tensors[0].shape == shape


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_round_trip(
    benchmark: Any, loop: asyncio.AbstractEventLoop, shape: tuple[int, int]
) -> None:
    tensors = [_tensor(shape)]

    def small_answer(connection: Connection, message: Message) -> None:
        first = message.tensors[0].data[:, :2]
        connection.reply(message.id, BatchMeta((1,)), [Tensor("y", "FP32", first.shape, first)])

    async def start() -> tuple[ChannelServer, Connection]:
        server = ChannelServer(small_answer, slots=2)
        folder = tempfile.mkdtemp(prefix="vb-")  # the path of a Unix socket must be short
        address = await server.start(f"unix:{folder}/echo.sock")
        connection = await connect(address, None)
        shutil.rmtree(folder)
        return server, connection

    server, connection = loop.run_until_complete(start())

    async def once() -> Message:
        return await connection.request("infer", BatchMeta((1,)), tensors)

    answer = benchmark(lambda: loop.run_until_complete(once()))
    assert answer.tensors[0].shape == (shape[0], 2)

    async def stop() -> None:
        connection.close()
        server.close()
        await asyncio.sleep(0.01)

    loop.run_until_complete(stop())
