"""A direct ingress over the fake replica, in the test's own loop, on a Unix socket and ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import msgspec
import pytest

from serving.config import Listen
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.direct.limits import Limits
from serving.gateway.direct.server import DirectServer
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

LIMIT = 10_000
BODY = b'{"id":"q","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
HEADERS = [
    (":method", "POST"), (":scheme", "http"), (":authority", "vigil"),
    (":path", "/inference.GRPCInferenceService/ModelInfer"),
    ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip


@pytest.fixture
def limits() -> Limits:
    """What clients may take: longer than any test waits; one that waits for a limit has its own."""
    return Limits(head_s=600, body_s=600, idle_s=600, stall_s=600)


@pytest.fixture
async def server(
    app: VigilApp, plane: DataPlane, limits: Limits, tmp_path: Path
) -> AsyncIterator[DirectServer]:
    server = DirectServer(app, plane, Listen(http_port=0, grpc_port=0), LIMIT, limits)
    server.ports = await server.start(tmp_path / "s")  # type: ignore[attr-defined]
    yield server
    await server.drain(0.2)
    await asyncio.sleep(0)


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(60):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode().split("\r\n")[:-2]
        pairs = [line.split(": ", 1) for line in lines]
        assert len(pairs) == len({name for name, _ in pairs})
        return int(first.split()[1]), dict(pairs)

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        size = int(headers["content-length"]) if body else 0
        async with asyncio.timeout(60):
            return status, headers, await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Return what comes until the server closes."""
        async with asyncio.timeout(60):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@pytest.fixture
async def connect(
    server: DirectServer, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Opens raw connections, and closes them at the end."""
    clients: list[Client] = []

    async def connect() -> Client:
        client = Client(*await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1 << 22))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


class Stream(msgspec.Struct):
    """What came on one stream."""

    headers: dict[str, str] = {}
    trailers: dict[str, str] = {}
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Client2:
    """A connection that speaks HTTP/2 by the `h2` package."""

    def __init__(self, raw: Client) -> None:
        self.raw = raw
        # Tests break the protocol on purpose: h2 must let them.
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True, header_encoding="utf-8",
                validate_outbound_headers=False, normalize_outbound_headers=False,
            )
        )  # fmt: skip
        self.streams: dict[int, Stream] = {}
        self.goaways: list[tuple[int, int]] = []
        self.acknowledge = True

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        await self.raw.send(self.h2.data_to_send())

    async def call(
        self,
        message: bytes,
        *extra: tuple[str, str],
        pieces: int = 1,
        host: tuple[str, str] = (":authority", "vigil"),
    ) -> int:
        """Send one ModelInfer call and return its stream."""
        ident = self.h2.get_next_available_stream_id()
        start = [host if name == host[0] else (name, value) for name, value in HEADERS]
        self.h2.send_headers(ident, [*start, *extra])
        data = b"\0" + len(message).to_bytes(4, "big") + message
        step = -(-len(data) // pieces)
        cuts = [data[at : at + step] for at in range(0, len(data), step)]
        for at, piece in enumerate(cuts):
            self.h2.send_data(ident, piece, end_stream=at == len(cuts) - 1)
        await self.flush()
        return ident

    async def ask(self, path: str, method: str = "GET", body: bytes = b"") -> int:
        ident = self.h2.get_next_available_stream_id()
        start = [(":method", method), (":scheme", "http"), (":authority", "v"), (":path", path)]
        self.h2.send_headers(ident, start, end_stream=not body)
        if body:
            self.h2.send_data(ident, body, end_stream=True)
        await self.flush()
        return ident

    async def read(self) -> bool:
        """Take in what has come; False at the end of the connection."""
        async with asyncio.timeout(60):
            data = await self.raw.reader.read(1 << 16)
        if not data:
            return False
        for event in self.h2.receive_data(data):
            stream = self.streams.setdefault(getattr(event, "stream_id", None) or 0, Stream())
            if isinstance(event, h2.events.ResponseReceived):
                stream.headers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.TrailersReceived):
                stream.trailers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                if self.acknowledge:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = int(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaways.append((int(event.error_code), event.last_stream_id or 0))
        with contextlib.suppress(ConnectionError):
            await self.flush()
        return True

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            assert await self.read(), "the server has closed the connection"

    async def answer(self, ident: int) -> Stream:
        self.streams.setdefault(ident, Stream())
        await self.until(lambda: self.streams[ident].ended or self.streams[ident].reset is not None)
        return self.streams[ident]


@pytest.fixture
async def connect2(connect: Callable[[], Awaitable[Client]]) -> Callable[[], Awaitable[Client2]]:
    """Opens HTTP/2 connections."""

    async def connect2() -> Client2:
        client = Client2(await connect())
        await client.start()
        return client

    return connect2


@pytest.fixture
def message() -> bytes:
    """A ModelInfer request with one row."""
    request = ModelInferRequest(model_name="m", id="q")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([1, 2])
    return bytes(request.SerializeToString())


@pytest.fixture
def post() -> Callable[..., bytes]:
    """Returns the bytes of an inference request over HTTP/1.1."""

    def post(body: bytes = BODY, headers: str = "", version: str = "1.1") -> bytes:
        return (
            f"POST /v2/models/m/infer HTTP/{version}\r\nHost: v\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    return post


@pytest.fixture
def count_calls(calls_of: Callable[..., list[str]]) -> Callable[[Callable[[], object]], int]:
    """Counts the calls of Python functions that something takes."""
    return lambda run: len(calls_of(run))
