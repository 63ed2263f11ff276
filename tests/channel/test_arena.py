"""Large tensors through shared memory: the same numbers, blocks given back, and ways to fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.channel import arena, frames
from serving.channel.arena import Arena, ArenaOffer, map_offer
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer, connect
from serving.channel.frame_parts import Message
from serving.channel.frames import FrameError
from serving.protocol.messages import Tensor
from serving.protocol.tensors import tensor_from_buffer

LARGE = arena.LARGE // 4


def tensor(value: float, floats: int = LARGE) -> Tensor:
    data = np.full((floats,), value, np.float32)
    return Tensor("x", "FP32", data.shape, data)


@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=60))
def test_blocks_never_overlap_and_all_come_back(steps: list[tuple[int, bool]]) -> None:
    made = Arena(16 << 10)
    try:
        held: dict[int, bytes] = {}
        for number, (size, free) in enumerate(steps):
            data = bytes([number % 251]) * size
            at = made.put([memoryview(data[:1]), memoryview(data[1:])], size)
            if at >= 0:
                held[at] = data
            shared = map_offer(made.offer)
            for where, expected in held.items():
                assert shared[where : where + len(expected)] == expected
            if free and held:
                made.release(held.popitem()[0])
        for at in held:
            made.release(at)
        assert made.used == 0
        assert made.put([memoryview(bytes(16 << 10))], 16 << 10) == 0
    finally:
        made.close()


def test_an_arena_that_is_full_says_so() -> None:
    made = Arena(1 << 12)
    assert made.put([memoryview(bytes(1 << 12))], 1 << 12) == 0
    assert made.put([memoryview(b"x")], 1) == -1
    made.close()


@pytest.mark.parametrize(
    "change", [{"inode": 1}, {"size": 1 << 12}, {"fd": 10_000}, {"size": -1}, {"size": 1 << 40}]
)
def test_an_offer_of_something_else_is_refused(change: dict[str, int]) -> None:
    made = Arena(1 << 13)
    offer = made.offer
    wrong = {"pid": offer.pid, "fd": offer.fd, "inode": offer.inode, "size": offer.size, **change}
    with pytest.raises((OSError, ValueError)):
        map_offer(ArenaOffer(**wrong))
    made.close()


@pytest.mark.parametrize("at", [0, 100, 1 << 20])
def test_a_frame_that_points_outside_is_refused(at: int) -> None:
    big = tensor(1.0)
    buffers = frames.encode("infer", 1, None, [big], lambda _pieces, _size: at)
    frame = memoryview(b"".join(buffers))[4:]
    for shared in (None, memoryview(bytes(1000))):
        with pytest.raises(FrameError, match="memory that is shared"):
            frames.decode(frame, shared)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Connection, list[Message]]]:
    """A connection over a Unix socket to a server that answers with each tensor's sum."""
    seen: list[Message] = []

    def answer(connection: Connection, message: Message) -> None:
        seen.append(message)
        sums = np.array([float(t.data.sum()) for t in message.tensors])
        connection.reply(message.id, None, [Tensor("sum", "FP64", sums.shape, sums)])

    folder = Path(tempfile.mkdtemp(prefix="va-"))
    server = ChannelServer(answer, slots=2)
    connection = await connect(await server.start(f"unix:{folder}/s"))
    yield connection, seen
    connection.close()
    server.close()
    async with asyncio.timeout(60):
        while not connection.closed or server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
    shutil.rmtree(folder)


def in_shared_memory(message: Message) -> bool:
    base = message.tensors[0].data
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return not isinstance(base, memoryview) or len(base.obj) >= arena.ARENA_BYTES  # type: ignore[arg-type]


async def test_large_tensors_take_the_arena_once_the_peer_has_it(pair: Any) -> None:
    connection, seen = pair
    for value in range(5):
        reply = await connection.request("infer", None, [tensor(value), tensor(1, 8)])
        assert reply.tensors[0].data.tolist() == [value * LARGE, 8.0]
    assert not in_shared_memory(seen[0])
    assert all(in_shared_memory(message) for message in seen[1:])
    assert connection._arena.used == 0


async def test_many_at_once_that_do_not_all_fit(pair: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("serving.channel.connection.Arena", lambda: Arena(LARGE * 4 * 3))
    connection, _ = pair
    await connection.request("infer", None, [tensor(0)])
    asked = [connection.request("infer", None, [tensor(value)]) for value in range(20)]
    for value, answer in enumerate(await asyncio.gather(*asked)):
        assert answer.tensors[0].data.tolist() == [value * LARGE]
    assert connection._arena.used == 0


async def test_a_peer_that_cannot_map_it_gets_everything_through_the_socket(
    pair: Any, monkeypatch: Any
) -> None:
    def cannot(_offer: ArenaOffer) -> memoryview:
        raise PermissionError("no")

    monkeypatch.setattr("serving.channel.connection.map_offer", cannot)
    connection, seen = pair
    for value in range(3):
        reply = await connection.request("infer", None, [tensor(value)])
        assert reply.tensors[0].data.tolist() == [value * LARGE]
    assert not any(in_shared_memory(message) for message in seen)
    assert connection._arena is None


async def test_what_cannot_be_encoded_takes_no_block(pair: Any) -> None:
    connection, _ = pair
    await connection.request("infer", None, [tensor(0)])
    await connection.request("infer", None, [tensor(0)])
    with pytest.raises(TypeError):
        connection.request("infer", object(), [tensor(1)])
    assert connection._arena.used == 0
    reply = await connection.request("infer", None, [tensor(2)])
    assert reply.tensors[0].data.tolist() == [2.0 * LARGE]


async def test_no_memory_for_an_arena_is_no_failure(pair: Any, monkeypatch: Any) -> None:
    def cannot() -> Arena:
        raise OSError("no memory")

    monkeypatch.setattr("serving.channel.connection.Arena", cannot)
    connection, _ = pair
    reply = await connection.request("infer", None, [tensor(2)])
    assert reply.tensors[0].data.tolist() == [2.0 * LARGE]


async def test_nothing_stays_open_when_the_connection_ends(pair: Any) -> None:
    connection, _ = pair
    await connection.request("infer", None, [tensor(0)])
    await connection.request("infer", None, [tensor(0)])
    fd = connection._arena.offer.fd
    connection.close()
    async with asyncio.timeout(60):
        while not connection.closed:  # noqa: ASYNC110
            await asyncio.sleep(0)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


@given(size=st.integers(1, 3000), skip=st.integers(0, 500))
def test_what_lands_is_aligned_behind_what_is_skipped_and_leaves_with_its_last_reader(
    size: int, skip: int
) -> None:
    made = Arena(16 << 10)
    room = made.receive_buffer(size + skip, skip)
    assert room is not None
    assert len(room) == size + skip
    data = np.ndarray((size,), np.uint8, room[skip:])[:].reshape(-1)
    assert data.ctypes.data % 64 == 0
    other = made.put([memoryview(b"x" * 100)], 100)
    room[:] = bytes(range(256)) * ((size + skip) // 256) + bytes((size + skip) % 256)
    shared = map_offer(made.offer)
    at = made.find(data.data)
    assert shared[at : at + size] == data.tobytes()
    assert shared[other : other + 100] == b"x" * 100
    made.release(other)
    del room
    assert made.used >= size
    del data
    assert made.used == 0
    made.close()


def test_what_lies_elsewhere_is_not_found_and_what_does_not_fit_does_not_land() -> None:
    made = Arena(1 << 12)
    assert made.find(memoryview(b"elsewhere")) == -1
    assert made.receive_buffer((1 << 12) + 1, 0) is None
    assert made.used == 0
    made.close()


def test_what_is_still_read_outlives_the_arena() -> None:
    made = Arena(1 << 12)
    room = made.receive_buffer(100, 0)
    assert room is not None
    room[:] = b"y" * 100
    made.close()
    assert bytes(room) == b"y" * 100
    del room


async def test_what_has_landed_is_not_copied_again(pair: Any) -> None:
    connection, seen = pair
    assert connection.receive_buffer(100, 0) is None  # nothing is shared yet
    for _ in range(2):
        await connection.request("infer", None, [tensor(0)])
    skip, size = 37, LARGE * 4
    room = connection.receive_buffer(skip + size, skip)
    data = np.frombuffer(room[skip:], np.float32)
    data[:] = 3
    taken = connection._arena.used
    asked = connection.request("infer", None, [Tensor("x", "FP32", data.shape, data)])
    assert connection._arena.used == taken
    assert (await asked).tensors[0].data.tolist() == [3.0 * LARGE]
    assert in_shared_memory(seen[-1])
    assert connection._arena.used == taken  # its reader decides how long
    del room, data, asked
    assert connection._arena.used == 0


async def test_what_lands_for_many_clients_stays_their_own(pair: Any) -> None:
    connection, _ = pair
    for _ in range(2):
        await connection.request("infer", None, [tensor(0)])

    def received(value: float, rows: int) -> Tensor:
        """What the codec makes of a body that came into the arena."""
        body = connection.receive_buffer(10 + rows * LARGE * 4, 10)
        body[10:] = np.full(rows * LARGE, value, "<f4").tobytes()
        return tensor_from_buffer("x", "FP32", (rows, LARGE), memoryview(body)[10:])

    async def client(number: int) -> None:
        for turn in range(10):
            sent = received(number * 10 + turn, 1 + turn % 3)
            await asyncio.sleep(0)  # others land meanwhile
            reply = await connection.request("infer", None, [sent])
            assert reply.tensors[0].data.tolist() == [sent.data.size * (number * 10.0 + turn)]

    await asyncio.gather(*[client(number) for number in range(8)])
    assert connection._arena.used == 0
