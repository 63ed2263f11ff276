"""The whole gateway without its sockets: request bytes in, answer bytes out, 64 at a time."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import pytest
from hpack import Encoder

from loadtest import mlp
from serving.config import Listen
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi import VigilApp
from serving.gateway.direct.http1 import Http1
from serving.gateway.direct.http2 import Http2
from serving.gateway.direct.server import DirectServer
from serving.http2 import frames as f

REQUESTS = 64
ROUNDS = 8
"""Rounds of requests that are like no other; then they come again, long forgotten."""


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


def test_http(benchmark: Any, loop: asyncio.AbstractEventLoop, server: DirectServer) -> None:
    body = mlp.json_body(mlp.rows(1)).data
    request = (
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost:8000\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
    wires = [Wire() for _ in range(REQUESTS)]
    speakers = [Http1(server, wire, None) for wire in wires]  # type: ignore[arg-type]

    async def once() -> int:
        for speaker in speakers:
            speaker.data_received(request)
        while not all(wire.written for wire in wires):  # noqa: ASYNC110 - some turns
            await asyncio.sleep(0)
        answers = [wire.written.pop() for wire in wires]
        return sum(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)

    assert benchmark(lambda: loop.run_until_complete(once())) == REQUESTS


def test_http_of_a_mesh(
    benchmark: Any, loop: asyncio.AbstractEventLoop, server: DirectServer
) -> None:
    """Each request has an id and a trace of its own, as a mesh or a client's library adds them."""
    body = mlp.json_body(mlp.rows(1)).data
    wires = [Wire() for _ in range(REQUESTS)]
    speakers = [Http1(server, wire, None) for wire in wires]  # type: ignore[arg-type]
    numbers = itertools.count()

    def request() -> bytes:
        ident = uuid.UUID(int=next(numbers)).hex.encode()
        return (
            b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n"
            b"User-Agent: python-requests/2.32\r\nContent-Type: application/json\r\n"
            b"x-request-id: %b\r\ntraceparent: 00-%b-%b-01\r\nContent-Length: %d\r\n\r\n"
            % (ident, ident, ident[:16], len(body))
        ) + body

    rounds = itertools.cycle([[request() for _ in speakers] for _ in range(ROUNDS)])

    async def once() -> int:
        for speaker, data in zip(speakers, next(rounds), strict=True):
            speaker.data_received(data)
        while not all(wire.written for wire in wires):  # noqa: ASYNC110 - some turns
            await asyncio.sleep(0)
        answers = [wire.written.pop() for wire in wires]
        return sum(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)

    assert benchmark(lambda: loop.run_until_complete(once())) == REQUESTS


def test_grpc(benchmark: Any, loop: asyncio.AbstractEventLoop, server: DirectServer) -> None:
    payload = mlp.grpc_frame(mlp.grpc_message(mlp.rows(1)))
    encoder = Encoder()
    headers = [
        (":method", "POST"), (":scheme", "http"), (":path", mlp.GRPC_PATH),
        (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
    ]  # fmt: skip
    wire = Wire()
    speaker = Http2(server, wire, None)  # type: ignore[arg-type]
    windows = f.settings({f.INITIAL_WINDOW_SIZE: 1 << 30}) + f.window_update(0, 1 << 30)
    speaker.data_received(f.PREFACE + windows)
    # The first block fills the table; those after it are all the same.
    first, block = encoder.encode(headers), encoder.encode(headers)
    ident = 1
    speaker.data_received(f.frame(f.HEADERS, f.END_HEADERS, ident, first))
    speaker.data_received(f.frame(f.RST_STREAM, 0, ident, bytes(4)))

    async def once() -> int:
        nonlocal ident
        wire.written.clear()
        for _ in range(REQUESTS):
            ident += 2
            speaker.data_received(
                f.frame(f.HEADERS, f.END_HEADERS, ident, block)
                + f.frame(f.DATA, f.END_STREAM, ident, payload)
            )
        while len(wire.written) < REQUESTS:  # noqa: ASYNC110 - some turns
            await asyncio.sleep(0)
        speaker.data_received(f.window_update(0, 1 << 16))
        return sum(b"grpc-status\x010" in answer for answer in wire.written)

    assert benchmark(lambda: loop.run_until_complete(once())) == REQUESTS


def test_grpc_of_a_mesh(
    benchmark: Any, loop: asyncio.AbstractEventLoop, server: DirectServer
) -> None:
    """Each call has an id, a trace and a timeout of its own, which its client indexes."""
    payload = mlp.grpc_frame(mlp.grpc_message(mlp.rows(1)))
    encoder, wire, numbers = Encoder(), Wire(), itertools.count()
    speaker = Http2(server, wire, None)  # type: ignore[arg-type]
    speaker.data_received(
        f.PREFACE + f.settings({f.INITIAL_WINDOW_SIZE: 1 << 30}) + f.window_update(0, 1 << 30)
    )

    def block(number: int) -> bytes:
        ident = uuid.UUID(int=number).hex
        return encoder.encode([
            (":method", "POST"), (":scheme", "http"), (":path", mlp.GRPC_PATH),
            (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
            ("user-agent", "grpc-go/1.60"), ("x-request-id", ident),
            ("traceparent", f"00-{ident}-{ident[:16]}-01"),
            ("grpc-timeout", f"{900 + number % 90}m"),
        ])  # fmt: skip

    def calls() -> list[bytes]:
        # Indexes move with each call, so they are encoded in the order in which they are sent.
        return [
            f.frame(f.HEADERS, f.END_HEADERS, 2 * number + 1, block(number))
            + f.frame(f.DATA, f.END_STREAM, 2 * number + 1, payload)
            for number in itertools.islice(numbers, REQUESTS)
        ]

    async def once(sent: list[bytes]) -> int:
        wire.written.clear()
        for call in sent:
            speaker.data_received(call)
        while len(wire.written) < REQUESTS:  # noqa: ASYNC110 - some turns
            await asyncio.sleep(0)
        speaker.data_received(f.window_update(0, 1 << 16))
        return sum(b"grpc-status\x010" in answer for answer in wire.written)

    answered = benchmark.pedantic(
        lambda sent: loop.run_until_complete(once(sent)),
        setup=lambda: ((calls(),), {}),
        rounds=200,
    )
    assert answered == REQUESTS
