"""The whole gateway without its sockets: request bytes in, answer bytes out, 64 at a time.

Identical requests, and requests as real clients send them: each with an id of its own in body and
headers, a trace context, and other numbers. What each costs in Python calls is told at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hpack import Encoder

from loadtest import mlp
from loadtest.micro.conftest import Calls
from serving.config import Listen
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.direct.http1.connection import Http1
from serving.gateway.direct.http2.connection import Http2
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.server import DirectServer
from serving.http2 import frames as f

REQUESTS = 64
ROUNDS = 200
Loop = asyncio.AbstractEventLoop


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)

    def is_closing(self) -> bool:
        """Never."""
        return False


@pytest.fixture
def server(plane: DataPlane) -> DirectServer:
    """A server that listens nowhere."""

    async def nothing() -> Any:
        return plane

    app = VigilApp(nothing, nothing, 1 << 20)
    app.plane = plane
    return DirectServer(app, plane, Listen(), 1 << 20)


@pytest.fixture(params=["identical", "unique"])
def numbers(request: pytest.FixtureRequest) -> Iterator[int]:
    """A number for each request: the same for all, or one of its own."""
    return itertools.repeat(1) if request.param == "identical" else itertools.count(100_000)


def json_request(number: int) -> tuple[bytes, bytes]:
    """Return headers and body."""
    body = {"id": f"id-{number}", **json.loads(mlp.json_body(mlp.rows(1, number)).data)}
    return b"content-type: application/json\r\n", json.dumps(body).encode()


def binary_request(number: int) -> tuple[bytes, bytes]:
    """Return headers and body."""
    body = mlp.binary_body(mlp.rows(1, number))
    length = int(body.headers["Inference-Header-Content-Length"])
    request = {"id": f"id-{number}", **json.loads(body.data[:length])}
    head = json.dumps(request).encode()
    headers = b"inference-header-content-length: %d\r\n" % len(head)
    return headers, head + body.data[length:]


@pytest.mark.parametrize("make", [json_request, binary_request], ids=["json", "binary"])
def test_http(
    benchmark: Any,
    calls: Calls,
    loop: Loop,
    server: DirectServer,
    make: Callable[[int], tuple[bytes, bytes]],
    numbers: Iterator[int],
) -> None:
    def request() -> bytes:
        number = next(numbers)
        headers, body = make(number)
        return (
            b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost:8000\r\n"
            b"x-request-id: r-%d\r\ntraceparent: 00-%032x-%016x-01\r\n%bContent-Length: %d\r\n\r\n"
            % (number, number, number, headers, len(body))
        ) + body

    wires = [Wire() for _ in range(REQUESTS)]
    speakers = [
        Http1(server.state, wire, Peer(None, 0, server.state.access), server.shapes)
        for wire in wires
    ]  # type: ignore[arg-type]

    async def answer(requests: list[bytes]) -> int:
        for speaker, each in zip(speakers, requests, strict=True):
            speaker.data_received(each)
        while not all([wire.written for wire in wires]):  # noqa: ASYNC110, C419 - some turns
            await asyncio.sleep(0)
        answers = [wire.written.pop() for wire in wires]
        return sum([each.startswith(b"HTTP/1.1 200 OK\r\n") for each in answers])

    def requests() -> list[bytes]:
        return [request() for _ in range(REQUESTS)]

    _measure(benchmark, calls, loop, answer, requests)


def test_grpc(
    benchmark: Any, calls: Calls, loop: Loop, server: DirectServer, numbers: Iterator[int]
) -> None:
    encoder = Encoder()
    wire = Wire()
    speaker = Http2(server.state, wire, Peer(None, 0, server.state.access), server.shapes2)  # type: ignore[arg-type]
    windows = f.settings({f.INITIAL_WINDOW_SIZE: 1 << 30}) + f.window_update(0, 1 << 30)
    speaker.data_received(f.PREFACE + windows)
    streams = itertools.count(1, 2)

    def request() -> bytes:
        number, ident = next(numbers), next(streams)
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", mlp.GRPC_PATH),
            (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
            ("traceparent", f"00-{number:032x}-{number:016x}-01"),
        ]  # fmt: skip
        message = mlp.grpc_message(mlp.rows(1, number), f"id-{number}")
        return f.frame(f.HEADERS, f.END_HEADERS, ident, encoder.encode(headers)) + f.frame(
            f.DATA, f.END_STREAM, ident, mlp.grpc_frame(message)
        )

    async def answer(requests: list[bytes]) -> int:
        wire.written.clear()
        for each in requests:
            speaker.data_received(each)
        while len(wire.written) < REQUESTS:  # noqa: ASYNC110 - some turns
            await asyncio.sleep(0)
        speaker.data_received(f.window_update(0, 1 << 16))
        return sum([b"grpc-status\x010" in each for each in wire.written])

    def requests() -> list[bytes]:
        return [request() for _ in range(REQUESTS)]

    _measure(benchmark, calls, loop, answer, requests)


def _measure(
    benchmark: Any,
    calls: Calls,
    loop: Loop,
    answer: Callable[[list[bytes]], Any],
    requests: Callable[[], list[bytes]],
) -> None:
    def once(some: list[bytes]) -> int:
        answered: int = loop.run_until_complete(answer(some))
        return answered

    def setup() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        return (requests(),), {}

    assert benchmark.pedantic(once, setup=setup, rounds=ROUNDS, warmup_rounds=8) == REQUESTS
    calls(once, requests(), REQUESTS)
