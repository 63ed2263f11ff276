"""Requests that wait unread for room in a full queue, over HTTP/1.1 and gRPC."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from serving.channel.messages.directory import Directory, ServedModel
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.gateway.direct.backlog import Backlog

ROWS = 8
"""What the queue holds."""


def waiting(server):
    """How many requests wait unread for the one queue."""
    state = server.state
    return len(state.backlog._waiting.get(*state.plane.crowded, ()))


def wait_at_most(server, seconds, **more):
    """Have a new backlog for all clients that connect from now on."""
    state = server.state
    backlog = Backlog(state.plane, state.slices, seconds, **more)
    server.state = replace(state, backlog=backlog)


def config(**batching):
    return ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None}, "explain": None,
        "batching": {"max_queue_rows": ROWS, "max_batch_size": 2, **batching},
    })  # fmt: skip


@pytest.fixture
def batching():
    return {}


@pytest.fixture
async def plane(link, batching):
    plane = DataPlane("g")
    link.slots = 1
    served = ServedModel("m", "1", config(**batching).model_dump_json().encode(), "nowhere")
    plane.apply(Directory(1, (served,)))
    plane.add_link("m", "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    yield plane
    plane.close()


@pytest.fixture
def reads(server, monkeypatch):
    """Counts the requests that are read."""
    read, counted = server.state.json_requests.read, []

    def count(*arguments):
        counted.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(server.state.json_requests, "read", count)
    return counted


def body(rows, number=1, **more):
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [number] * (2 * rows)}
    return json.dumps({"id": str(number), "inputs": [tensor], **more}).encode()


async def eventually(done):
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
async def full(server, plane, link, connect, post):
    """A queue that is full, and has refused somebody."""
    link.hold = asyncio.Event()
    clients = [await connect() for _ in range(5)]
    queue = plane.entries()[0].queue
    for number, client in enumerate(clients):
        await client.send(post(body(2, number)))
        await eventually(lambda n=number: link.busy and queue.waiting_rows == 2 * n)
    refused = await connect()
    await refused.send(post(body(2)))
    assert (await refused.answer())[0] == 503
    assert plane.crowded
    return clients


async def test_whoever_comes_to_a_full_queue_is_read_when_there_is_room(
    full, server, link, connect, post, reads
):
    wait_at_most(server, 600)
    late = [await connect() for _ in range(6)]
    for number, client in enumerate(late):
        await client.send(post(body(2, 10 + number)))
    await eventually(
        lambda: len(server.state.backlog._waiting.get(*server.state.plane.crowded, ())) == 6
    )
    assert not reads
    link.hold.set()
    for number, client in enumerate([*full, *late]):
        status, _, answer = await client.answer()
        assert status == 200
        ident = str(number if number < 5 else 5 + number)
        assert json.loads(answer)["id"] == ident
    assert len(reads) == 6
    assert [json.loads(arguments[0])["id"] for arguments in reads] == [
        str(n) for n in range(10, 16)
    ]
    assert not server.state.backlog._waiting
    assert not server.state.backlog._bytes
    assert server.state.plane.entries()[0].queue.on_room is None


async def test_whoever_waits_in_vain_is_refused_unread(full, server, connect, post, reads, link):
    wait_at_most(server, 0.05)
    client = await connect()
    began = asyncio.get_running_loop().time()
    await client.send(post(body(2)) + post(body(2)))  # the second waits for the first's answer
    for waits in (1, 2):
        status, headers, answer = await client.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(answer) == {"error": "the queue of model 'm' is full; retry later"}
        assert asyncio.get_running_loop().time() - began >= waits * 0.05
    assert not reads
    assert not server.state.backlog._bytes
    refused = [s for s in server.state.plane.snapshot() if s.name == "vigil.rejected"]
    assert [dict(s.attributes)["reason"] for s in refused] == ["QueueFull"]
    link.hold.set()


async def test_grpc_calls_wait_as_well(full, server, link, connect2, message):
    wait_at_most(server, 600)
    client = await connect2()
    idents = [await client.call(message) for _ in range(6)]
    await eventually(
        lambda: len(server.state.backlog._waiting.get(*server.state.plane.crowded, ())) == 6
    )
    link.hold.set()
    for ident in idents:
        assert (await client.answer(ident)).trailers["grpc-status"] == "0"


async def test_grpc_calls_are_refused_unread(full, server, connect2, message, link):
    wait_at_most(server, 0.05)
    client = await connect2()
    stream = await client.answer(await client.call(message))
    assert stream.headers["grpc-status"] == "14"
    assert "is full" in stream.headers["grpc-message"]
    link.hold.set()


async def test_a_deadline_passes_while_a_call_waits(full, server, connect2, message, link):
    wait_at_most(server, 600)
    client = await connect2()
    ident = await client.call(message, ("grpc-timeout", "10m"))
    await eventually(lambda: server.state.backlog._waiting)
    await asyncio.sleep(0.02)
    link.hold.set()
    assert (await client.answer(ident)).headers["grpc-status"] == "4"


@pytest.mark.parametrize("how", ["http", "stream", "connection"])
async def test_whoever_leaves_waits_no_longer(full, server, link, connect, connect2, message, post,
                                              reads, how):  # fmt: skip
    wait_at_most(server, 600)
    if how == "http":
        client = await connect()
        await client.send(post(body(2)))
    else:
        client = await connect2()
        ident = await client.call(message)
    await eventually(lambda: server.state.backlog._waiting)
    (waiter,) = next(iter(server.state.backlog._waiting.values()))
    if how == "stream":
        client.h2.reset_stream(ident)
        await client.flush()
    else:
        await getattr(client, "raw", client).close()
    await eventually(lambda: waiter.resume is None)
    link.hold.set()
    await eventually(lambda: not server.state.backlog._waiting)
    assert not server.state.backlog._bytes
    assert not reads


async def test_bodies_beyond_the_bound_are_let_go_and_refused_as_late(
    full, server, connect, post, reads, link
):
    wait_at_most(server, 0.1, most_bytes=len(body(2)) + 10)
    clients = [await connect() for _ in range(3)]
    for client in clients:
        await client.send(post(body(2)))
    exchanges = lambda: [c._exchange for c in server.connections if hasattr(c, "_exchange")]  # noqa: E731
    await eventually(lambda: sum(each._waiter is not None for each in exchanges()) == 3)
    assert server.state.backlog._bytes == len(body(2))
    for client in clients:
        assert (await client.answer())[0] == 503
    assert not reads
    link.hold.set()


async def test_a_lost_replica_ends_the_wait(full, server, plane, link, connect, post):
    wait_at_most(server, 600)
    client = await connect()
    await client.send(post(body(2)))
    await eventually(lambda: server.state.backlog._waiting)
    plane.entries()[0].batcher.remove_link(link)
    status, _, answer = await client.answer()
    assert status == 503
    assert b"no replica" in answer
    link.hold.set()


async def test_one_that_finds_room_lets_the_next_one_go(full, server, plane, link, connect, post):
    wait_at_most(server, 600)
    late = [await connect() for _ in range(4)]
    for client in late:
        await client.send(post(body(2)))
    await eventually(lambda: waiting(server) == 4)
    plane.entries()[0].batcher.remove_link(link)  # which is told once
    for client in late:
        status, _, answer = await client.answer()
        assert status == 503
        assert b"no replica" in answer
    link.hold.set()


class TestLargeBatches:
    """A batch takes all that waits; what waits unread fills the queue again."""

    @pytest.fixture
    def batching(self):
        return {"max_batch_size": ROWS}

    async def test_a_batch_of_what_waited_unread_is_as_large(
        self, full, server, plane, link, connect, post, monkeypatch
    ):
        wait_at_most(server, 600)
        queue, sent, send = plane.entries()[0].queue, [], link.send

        async def slow(batch):
            sent.append(batch.total)
            await eventually(
                lambda: queue.waiting_rows == ROWS or not server.state.backlog._waiting
            )
            return await send(batch)

        monkeypatch.setattr(link, "send", slow)
        late = [await connect() for _ in range(8)]
        for client in late:
            await client.send(post(body(2)))
        await eventually(lambda: waiting(server) == 8)
        link.hold.set()
        for client in late:
            assert (await client.answer())[0] == 200
        assert sent == [ROWS, ROWS, ROWS]


class TestRights:
    """Who may get room in a full queue is read, and not refused unread."""

    @pytest.fixture
    def batching(self):
        return {"priority_levels": 2, "default_priority_level": 2}

    async def test_a_higher_priority_is_read_and_makes_room(
        self, full, server, connect, post, link
    ):
        wait_at_most(server, 600)
        client = await connect()
        await client.send(post(body(2, 77, parameters={"priority": 1})))
        await eventually(lambda: server.state.plane.entries()[0].queue.waiting_rows == ROWS)
        newest = await full[-1].answer()
        assert newest[0] == 503
        link.hold.set()
        assert (await client.answer())[0] == 200

    async def test_another_client_is_read_and_makes_room(self, full, server, plane, link):
        entry = plane.entries()[0]
        assert entry.queue.full
        assert not entry.may_make_room("", body(2))
        assert entry.may_make_room("10.0.0.1", body(2))
        assert server.state.backlog.place("m", "", "10.0.0.1", body(2)) is None
        assert server.state.backlog.place("m", "", "", body(2)) is not None
        link.hold.set()


async def test_what_cannot_be_answered_at_all_is_not_kept_waiting(full, server, link):
    assert server.state.backlog.place("nobody", "", "", b"") is None
    assert server.state.backlog.place("m", "7", "", b"") is None
    link.hold.set()
