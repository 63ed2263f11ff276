"""The gRPC carrier against a real gRPC server: what is sent, what comes back, and what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelFailed,
    ModelNotReady,
    Unreachable,
    UpstreamDenied,
)
from serving.remote.access import Access
from serving.remote.wire import UpstreamCall


class Echo:
    """Answers `/echo/*` with what it got; what else it does is its methods'."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []
        self.left: list[float | None] = []
        self.cancelled = 0
        self.waiting = 0
        self.go_on = asyncio.Event()
        self.port = 0

    async def start(self, *, options: tuple[tuple[str, Any], ...] = ()) -> None:
        self.server = grpc.aio.server(
            options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1),
                     ("grpc.max_send_message_length", -1), *options)
        )  # fmt: skip
        methods = {"Echo": self._echo, "Fail": self._fail, "Wait": self._wait, "Zip": self._zip}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("echo", handlers),)
        )
        self.port = self.server.add_insecure_port(f"localhost:{self.port}")
        await self.server.start()

    async def _echo(self, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.left.append(context.time_remaining())
        return data

    async def _fail(self, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        code, _, details = data.decode().partition(" ")
        await context.abort(grpc.StatusCode[code], details)
        return b""

    async def _wait(self, data: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        self.waiting += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return data

    async def _zip(self, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return data


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    await server.start()
    yield server
    server.go_on.set()
    await server.server.stop(None)


@pytest.fixture
async def client(echo, client_of):
    return client_of(f"grpc://localhost:{echo.port}")


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 70_000, 9_000_000])
async def test_messages_of_every_size_come_back(client, size):
    message = bytes(range(256)) * (size // 256 + 1)
    assert (await client.send(UpstreamCall("/echo/Echo", message[:size]))).body == message[:size]


async def test_many_calls_share_a_connection(client, echo):
    calls = [client.send(UpstreamCall("/echo/Wait", b"%d" % number)) for number in range(300)]
    under_way = asyncio.gather(*calls)
    await until(lambda: echo.waiting == 300)
    echo.go_on.set()
    assert [answer.body for answer in await under_way] == [b"%d" % n for n in range(300)]


async def test_large_and_small_ones_at_once(client):
    sizes = [3_000_000, 10, 70_000, 5_000_000, 0] * 4
    calls = [client.send(UpstreamCall("/echo/Echo", bytes([i]) * n)) for i, n in enumerate(sizes)]
    answers = await asyncio.gather(*calls)
    assert [a.body for a in answers] == [bytes([i]) * n for i, n in enumerate(sizes)]


async def test_calls_that_the_server_has_no_stream_for_wait(client_of):
    server = Echo()
    await server.start(options=(("grpc.max_concurrent_streams", 2),))
    try:
        client = client_of(f"grpc://localhost:{server.port}")
        calls = [client.send(UpstreamCall("/echo/Wait", b"%d" % number)) for number in range(9)]
        under_way = asyncio.gather(*calls)
        await until(lambda: server.waiting == 2)
        late = await client.refused(UpstreamCall("/echo/Echo", b""), 0.05)
        assert isinstance(late, DeadlineExceeded)
        server.go_on.set()
        assert [answer.body for answer in await under_way] == [b"%d" % n for n in range(9)]
    finally:
        await server.server.stop(None)


async def test_the_server_learns_secret_and_deadline(echo, client_of):
    class Secret(Access):
        def headers(self) -> dict[str, str]:
            return {"x-api-key": "k-1"}

    client = client_of(f"grpc://localhost:{echo.port}", Secret())
    await client.send(UpstreamCall("/echo/Echo", b""), 30)
    assert echo.metadata[0]["x-api-key"] == "k-1"
    assert 20 < echo.left[0] <= 30


@pytest.mark.parametrize(
    ("code", "kind"),
    [("INVALID_ARGUMENT", InvalidInput), ("UNAVAILABLE", ModelNotReady),
     ("DATA_LOSS", ModelFailed), ("UNAUTHENTICATED", UpstreamDenied)],
)  # fmt: skip
async def test_refusals_keep_their_words(client, code, kind):
    told = await client.refused(UpstreamCall("/echo/Fail", f"{code} 100 % größer".encode()))
    assert type(told) is kind
    assert kind is UpstreamDenied or told.message == "100 % größer"


async def test_a_method_that_is_not_there(client):
    told = await client.refused(UpstreamCall("/echo/None", b""))
    assert type(told).__name__ == "Unsupported"


async def test_a_late_answer_is_given_up_here_and_there(client, echo):
    told = await client.refused(UpstreamCall("/echo/Wait", b""), 0.1)
    assert isinstance(told, DeadlineExceeded)
    assert told.message.endswith("did not answer within 0.1 s (remote.timeout_s)")
    await until(lambda: echo.waiting == 0)


async def test_who_gives_up_tells_the_server(client, echo):
    task = asyncio.create_task(client.send(UpstreamCall("/echo/Wait", b"")))
    await until(lambda: echo.waiting == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: echo.cancelled == 1)
    assert (await client.send(UpstreamCall("/echo/Echo", b"x"))).body == b"x"


async def test_a_server_that_compresses_only_for_who_asks(client):
    assert (await client.send(UpstreamCall("/echo/Zip", b"a" * 9000))).body == b"a" * 9000


async def test_a_server_that_goes_and_comes_back(client, echo):
    assert await client.carrier.alive()
    under_way = asyncio.create_task(client.refused(UpstreamCall("/echo/Wait", b"")))
    await until(lambda: echo.waiting == 1)
    await echo.server.stop(None)
    assert isinstance(await under_way, Unreachable | ModelNotReady)
    assert not await client.carrier.alive()
    assert isinstance(await client.refused(UpstreamCall("/echo/Echo", b"")), Unreachable)
    await echo.start()
    async with asyncio.timeout(60):
        while not await client.carrier.alive():  # noqa: ASYNC110 - a server's condition
            await asyncio.sleep(0.02)
    assert (await client.send(UpstreamCall("/echo/Echo", b"again"))).body == b"again"


async def test_a_server_that_says_goodbye_finishes_what_it_has(client, echo):
    under_way = asyncio.create_task(client.send(UpstreamCall("/echo/Wait", b"kept")))
    await until(lambda: echo.waiting == 1)
    stopping = asyncio.create_task(echo.server.stop(300))
    echo.go_on.set()
    assert (await under_way).body == b"kept"
    async with asyncio.timeout(60):  # it ends before its grace does, since we have left
        await stopping
    assert not await client.carrier.alive()
