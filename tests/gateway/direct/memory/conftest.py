"""An ingress with limits for large bodies, helpers that answer or stay silent, and raw clients.

Clients are plain sockets: what a client library leaves behind would be counted as the gateway's.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from serving import errors
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Directory, Member, ServedModel
from serving.channel.messages.explanation import EXPLAIN, ExplainReply
from serving.channel.messages.observation import (
    EVENTS,
    LABELS,
    POSITION,
    TAKEN,
    EventMeta,
    LabelCounts,
    Position,
    Taken,
)
from serving.config import Listen, ModelConfig
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.limits import Limits
from serving.gateway.direct.server import DirectServer
from serving.http2 import frames as f

MOST = 4 << 20
"""The gateway's limit on bodies in these tests."""

CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None},
        "batching": {"max_queue_rows": 1 << 20, "max_batch_size": 20_000},
    }
)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Use the loop that a gateway has: transports of asyncio's own are cycles by themselves."""
    return {"uvloop": uvloop.new_event_loop}


class Helper:
    """An explainer and a monitor in one.

    Attributes:
        does: `answer`, `refuse` (with a domain error), or `wait` (for ever).
        asked: questions so far.
    """

    def __init__(self) -> None:
        self.does = "answer"
        self.asked = 0
        self.server = ChannelServer(self._message)

    def _message(self, connection: Connection, message: Message) -> None:
        if message.kind == EVENTS:
            position = msgspec.msgpack.decode(message.meta, type=EventMeta).position
            connection.notify(TAKEN, Taken(position.incarnation, position.sequence + 1))
        elif message.kind == POSITION:
            position = msgspec.msgpack.decode(message.meta, type=Position)
            connection.notify(TAKEN, Taken(position.incarnation, position.sequence))
        if message.kind not in (EXPLAIN, LABELS):
            return
        self.asked += 1
        if self.does == "refuse":
            connection.fail(message.id, errors.InvalidInput("it will not do"))
        elif self.does == "answer" and message.kind == LABELS:
            connection.reply(message.id, LabelCounts(accepted=1))
        elif self.does == "answer":
            connection.reply(message.id, ExplainReply("m", (0,), "zeros"), message.tensors)


@pytest.fixture
async def helper(tmp_path: Path) -> AsyncIterator[Helper]:
    """Accepts connections at `helper.sock`."""
    made = Helper()
    await made.server.start(f"unix:{tmp_path}/helper.sock")
    yield made
    made.server.close()
    await asyncio.sleep(0)


@pytest.fixture
async def plane(link: Any, helper: Helper) -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    served = ServedModel("m", "1", CONFIG.model_dump_json().encode(), "nowhere")
    members = (
        Member("explainer", "e", 1, helper.server.address, "m", "1"),
        Member("monitor", "monitor", 1, helper.server.address),
    )
    plane.apply(Directory(1, (served,), members))
    plane.add_link("m", "1", link)
    async with asyncio.timeout(60):
        while not (plane.ready()[0] and plane.publisher.connected):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    yield plane
    plane.close()
    await asyncio.sleep(0)


@pytest.fixture
def bodies() -> BodyBudget:
    """What all bodies together may have."""
    return BodyBudget(64 << 20, MOST)


@pytest.fixture
async def app(plane: DataPlane, bodies: BodyBudget) -> VigilApp:
    async def start() -> DataPlane:
        return plane

    async def stop() -> None:
        pass

    app = VigilApp(start, stop, MOST, bodies=bodies)
    app.plane = plane
    return app


@pytest.fixture
async def server(
    app: VigilApp, plane: DataPlane, limits: Limits, tmp_path: Path
) -> AsyncIterator[DirectServer]:
    server = DirectServer(app, plane, Listen(http_port=0, grpc_port=0), MOST, limits)
    await server.start(tmp_path / "s")
    yield server
    await server.drain(0.2)
    await asyncio.sleep(0)


class Garbage:
    """What only a collection would free, since the collector is off."""

    def start(self) -> None:
        """Begin to look: what is there now does not count."""
        gc.collect()
        gc.freeze()
        tracemalloc.start()

    def held(self) -> dict[str, int]:
        """Return the bytes that are held now and were not at the start, by line of source.

        Lines with less than a kilobyte are left out, and so are sources that are kept for
        tracebacks: when they are read depends on which failures are logged.
        """
        kept_for_tracebacks = tracemalloc.Filter(False, linecache.__file__)
        snapshot = tracemalloc.take_snapshot().filter_traces([kept_for_tracebacks])
        found = {str(line.traceback): line.size for line in snapshot.statistics("lineno")}
        return {line: size for line, size in found.items() if size >= 1024}

    def found(self) -> list[str]:
        """Return the types of unreachable objects; they are gone then."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
        finally:
            gc.set_debug(0)
        names = [f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage]
        gc.garbage.clear()
        return names


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    """The collector is off until the end of the test.

    What was frozen stays so: the rest of the session is among it, and looking through that takes
    more than a second.
    """
    gc.disable()
    yield Garbage()
    tracemalloc.stop()
    gc.enable()


def _whole_1(got: bytearray) -> bool:
    end = got.find(b"\r\n\r\n") + 4
    if end < 4:
        return False
    length = bytes(got[:end]).split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]
    return len(got) == end + int(length)


class _Whole2:
    """Whether stream 1 has ended; looks at each frame once."""

    def __init__(self) -> None:
        self._at = 0

    def __call__(self, got: bytearray) -> bool:
        while self._at + 9 <= len(got):
            high, low, kind, flags, ident = f.read_head(got, self._at)
            end = self._at + 9 + (high << 8 | low)
            if len(got) < end:
                return False
            if ident == 1 and flags & f.END_STREAM and kind in (f.DATA, f.HEADERS):
                return True
            self._at = end
        return False


class Raw:
    """A socket, its sends and receives by the loop."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._socket.connect(str(path))

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def until(self, done: Callable[[bytearray], bool]) -> bytes:
        """Return what has come once that is enough."""
        loop = asyncio.get_running_loop()
        got = bytearray()
        async with asyncio.timeout(60):
            while not done(got):
                data = await loop.sock_recv(self._socket, 1 << 18)
                if not data:
                    break
                got += data
        return bytes(got)

    async def answer(self, protocol: int) -> bytes:
        """Return all of one answer: on stream 1 for HTTP/2, with a length for HTTP/1.1."""
        return await self.until(_whole_1 if protocol == 1 else _Whole2())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw(server: DirectServer, tmp_path: Path) -> Iterator[Callable[[], Raw]]:
    opened: list[Raw] = []

    def open_one() -> Raw:
        opened.append(Raw(tmp_path / "s"))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


class Question(msgspec.Struct, frozen=True):
    """One request as it may come over HTTP/1.1 (where it has a form there) and HTTP/2."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def grpc(self) -> bool:
        return ("content-type", "application/grpc") in self.headers

    def over_1(self, *, chunked: bool = False) -> bytes:
        """Return the whole request."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        start = f"POST {self.path} HTTP/1.1\r\nhost: v\r\n{lines}"
        if not chunked:
            return f"{start}content-length: {len(self.body)}\r\n\r\n".encode() + self.body
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.body), self.body)
        return f"{start}transfer-encoding: chunked\r\n\r\n".encode() + chunk

    def head_2(self, ident: int, *more: tuple[str, str]) -> bytes:
        """Return the HEADERS frame."""
        fields = [
            (":method", "POST"), (":scheme", "http"), (":authority", "v"), (":path", self.path),
            *self.headers, *more,
        ]  # fmt: skip
        block = b"".join(f.literal(name.encode(), value.encode()) for name, value in fields)
        return f.headers(0, ident, block, 16384)

    def data_2(self, ident: int, *, end: bool = True) -> list[bytes]:
        """Return DATA frames; each may be sent without waiting for a window."""
        step = 16384
        cuts = [self.body[at : at + step] for at in range(0, len(self.body), step)] or [b""]
        return [
            f.frame(f.DATA, f.END_STREAM if end and at == len(cuts) - 1 else 0, ident, cut)
            for at, cut in enumerate(cuts)
        ]


async def settled(done: Callable[[], bool]) -> None:
    """Wait for a condition, then for whatever follows it in the next turns of the loop."""
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    for _ in range(5):
        await asyncio.sleep(0)


Settled = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def wait_until() -> Settled:
    return settled


@pytest.fixture
def question() -> type[Question]:
    return Question
