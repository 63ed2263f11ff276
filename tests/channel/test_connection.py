"""One connection over real sockets: handshake, secret, requests, and every way to lose it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from serving import errors
from serving.channel import connection as connection_module
from serving.channel import frames
from serving.channel.connection import ChannelClosed, Connection
from serving.channel.connection_messages import Hello
from serving.channel.endpoint import ChannelServer, connect
from serving.channel.frame_parts import Message
from serving.channel.frames import FrameError
from serving.protocol.messages import Tensor

Serve = Callable[..., Awaitable[ChannelServer]]
Raw = Callable[[str], Awaitable[Any]]
Wait = Callable[[Callable[[], object]], Awaitable[None]]
SECRET = b"of the cluster"
TCP = "tcp:127.0.0.1:0"


def echo(connection: Connection, message: Message) -> None:
    if message.kind == "refuse":
        connection.fail(message.id, errors.QueueFull("full; retry later", retry_after_s=3))
    elif message.kind == "echo":
        connection.reply(message.id, message.meta, message.tensors)


@pytest.mark.parametrize(("address", "secret"), [("unix", None), (TCP, SECRET)])
async def test_hello_request_reply_failure(
    serve: Serve, unix: str, address: str, secret: bytes | None
) -> None:
    server = await serve(unix if address == "unix" else address, echo, slots=3, secret=secret)
    connection = await connect(server.address, secret)
    assert connection.peer is not None
    assert connection.peer.slots == 3
    assert connection.peer.version == frames.VERSION

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    reply = await connection.request("echo", {"a": [1]}, [Tensor("x", "FP32", (2, 3), array)])
    assert msgspec.msgpack.decode(reply.meta) == {"a": [1]}
    np.testing.assert_array_equal(reply.tensors[0].data, array)

    with pytest.raises(errors.QueueFull, match="full; retry later") as caught:
        await connection.request("refuse", None)
    assert caught.value.retry_after_s == 3
    connection.close()


async def test_replies_find_their_requests_in_any_order(serve: Serve, unix: str) -> None:
    held: list[tuple[Connection, Message]] = []
    server = await serve(unix, lambda c, m: held.append((c, m)))
    connection = await connect(server.address)
    asked = [connection.request("echo", number) for number in range(5)]
    async with asyncio.timeout(60):
        while len(held) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for peer, message in reversed(held):
        peer.reply(message.id, message.meta)
    answers = await asyncio.gather(*asked)
    assert [msgspec.msgpack.decode(answer.meta) for answer in answers] == [0, 1, 2, 3, 4]
    connection.close()


async def test_notifications_go_both_ways(serve: Serve, unix: str, eventually: Wait) -> None:
    server = await serve(unix)
    told: list[str] = []
    connection = await connect(server.address, on_message=lambda _c, m: told.append(m.kind))
    connection.notify("up", 1)
    await eventually(lambda: server.received)  # type: ignore[attr-defined]
    peer, message = server.received[0]  # type: ignore[attr-defined]
    assert (message.kind, message.id) == ("up", 0)
    peer.notify("down", None)
    await eventually(lambda: told == ["down"])
    connection.close()


async def test_loss_fails_what_waits_and_what_comes_later(
    serve: Serve, unix: str, eventually: Wait
) -> None:
    lost: list[Connection] = []
    server = await serve(unix)
    connection = await connect(server.address, on_closed=lost.append)
    waiting = connection.request("echo", None)
    await eventually(lambda: server.connections)
    for peer in list(server.connections):
        peer.abort()
    with pytest.raises(ChannelClosed):
        await waiting
    assert lost == [connection]
    assert connection.closed
    with pytest.raises(ChannelClosed):
        await connection.request("echo", None)
    connection.notify("echo", None)  # nobody to tell, nothing to raise


async def test_a_lost_connection_tells_what_the_peer_was_at_work_on(
    serve: Serve, unix: str, eventually: Wait
) -> None:
    def work(connection: Connection, message: Message) -> None:
        if connection.progress is not None and message.kind != "late":
            connection.progress.begin(message.id, time.monotonic() - 5)
        if message.kind == "finish":
            assert connection.progress is not None
            connection.progress.end(message.id, time.monotonic())
        elif message.kind == "die":
            connection.abort()

    server = await serve(unix, work)
    connection = await connect(server.address)
    connection.follow_progress()
    asked = {kind: connection.request(kind, None) for kind in ("finish", "die", "late")}
    told = await asyncio.gather(*asked.values(), return_exceptions=True)
    assert [error.begun for error in told] == [False, True, False]  # type: ignore[union-attr]
    assert [error.busy_s >= 5 for error in told] == [False, True, False]  # type: ignore[union-attr]

    unwatched = await connect(server.address)
    with pytest.raises(ChannelClosed) as caught:
        await unwatched.request("die", None)
    assert caught.value.begun is None


async def test_a_request_after_close_is_not_left_waiting(serve: Serve, unix: str) -> None:
    connection = await connect((await serve(unix, echo)).address)
    connection.close()
    with pytest.raises(ChannelClosed):
        async with asyncio.timeout(60):
            await connection.request("echo", None)


async def test_a_request_that_cannot_be_sent_raises_and_harms_nobody(
    serve: Serve, unix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect((await serve(unix, echo)).address)
    with monkeypatch.context() as patch:
        patch.setattr(frames, "MAX_FRAME", 10_000)
        with pytest.raises(FrameError):
            connection.request(
                "echo", None, [Tensor("x", "UINT8", (20_000,), np.zeros(20_000, np.uint8))]
            )
    with pytest.raises(TypeError):
        connection.request("echo", object())
    assert not connection._pending
    assert msgspec.msgpack.decode((await connection.request("echo", 5)).meta) == 5
    connection.close()


async def test_goaway_lets_what_is_under_way_finish(
    serve: Serve, unix: str, eventually: Wait
) -> None:
    server = await serve(unix)
    connection = await connect(server.address)
    waiting = connection.request("echo", None)
    await eventually(lambda: server.received)  # type: ignore[attr-defined]
    server.goaway()
    await eventually(lambda: connection.draining)
    peer, message = server.received[0]  # type: ignore[attr-defined]
    peer.reply(message.id, "done")
    server.close()
    assert msgspec.msgpack.decode((await waiting).meta) == "done"
    await eventually(lambda: connection.closed)


@pytest.mark.parametrize(
    "ours", [b"of another cluster", SECRET + b"x", SECRET[:-1]], ids=["other", "longer", "prefix"]
)
async def test_a_wrong_secret_is_refused(serve: Serve, ours: bytes, eventually: Wait) -> None:
    server = await serve(TCP, secret=SECRET)
    with pytest.raises(ChannelClosed):
        await connect(server.address, ours)
    await eventually(lambda: not server.connections)
    assert not server.received  # type: ignore[attr-defined]


async def test_tcp_without_a_secret_is_refused(serve: Serve) -> None:
    with pytest.raises(ChannelClosed, match="secret"):
        await serve(TCP)
    server = await serve(TCP, secret=SECRET)
    with pytest.raises(ChannelClosed, match="secret"):
        await connect(server.address)


def proof(side: bytes, server_nonce: bytes, client_nonce: bytes, secret: bytes = SECRET) -> bytes:
    return hmac.new(secret, side + server_nonce + client_nonce, hashlib.sha256).digest()


async def handshake(peer: Any, nonce: bytes) -> tuple[bytes, bytes]:
    """Say hello by hand; returns the server's nonce and its proof."""
    hello = msgspec.msgpack.decode((await peer.receive()).meta, type=Hello)
    peer.send("hello", Hello(frames.VERSION, frames.MAX_FRAME, 0, nonce))
    server_proof = await peer.receive()
    assert server_proof.kind == "proof"
    return hello.nonce, msgspec.msgpack.decode(server_proof.meta, type=bytes)


async def test_the_handshake_by_hand(serve: Serve, raw: Raw) -> None:
    server = await serve(TCP, echo, secret=SECRET)
    peer = await raw(server.address)
    nonce = b"c" * 16
    server_nonce, server_proof = await handshake(peer, nonce)
    assert server_proof == proof(b"server", server_nonce, nonce)
    peer.send("proof", proof(b"client", server_nonce, nonce))
    peer.send("echo", "in the same breath", 1)
    answer = await peer.receive()
    assert (answer.kind, answer.id) == ("reply", 1)


@pytest.mark.parametrize("same_nonce", [False, True])
async def test_the_servers_own_proof_sent_back_is_refused(
    serve: Serve, raw: Raw, same_nonce: bool
) -> None:
    server = await serve(TCP, echo, secret=SECRET)
    peer = await raw(server.address)
    hello = msgspec.msgpack.decode((await peer.receive()).meta, type=Hello)
    nonce = hello.nonce if same_nonce else b"c" * 16
    peer.send("hello", Hello(frames.VERSION, frames.MAX_FRAME, 0, nonce))
    reflected = msgspec.msgpack.decode((await peer.receive()).meta, type=bytes)
    peer.send("proof", reflected)
    peer.send("echo", None, 1)
    assert await peer.receive() is None


async def test_a_proof_of_another_handshake_is_refused(serve: Serve, raw: Raw) -> None:
    server = await serve(TCP, echo, secret=SECRET)
    nonce = b"c" * 16
    first = await raw(server.address)
    server_nonce, _ = await handshake(first, nonce)
    recorded = proof(b"client", server_nonce, nonce)
    second = await raw(server.address)
    await handshake(second, nonce)
    second.send("proof", recorded)
    assert await second.receive() is None


@pytest.mark.parametrize("kind", ["echo", "register", "goaway", "reply", "proof"])
async def test_nothing_is_said_before_the_proof(serve: Serve, raw: Raw, kind: str) -> None:
    server = await serve(TCP, secret=SECRET)
    peer = await raw(server.address)
    assert (await peer.receive()).kind == "hello"
    peer.send(kind, b"", 1)
    assert await peer.receive() is None
    assert not server.received  # type: ignore[attr-defined]


async def test_another_version_is_refused(serve: Serve, raw: Raw, unix: str) -> None:
    peer = await raw((await serve(unix)).address)
    await peer.receive()
    peer.send("hello", Hello(frames.VERSION + 1, 0, 0, b""))
    assert await peer.receive() is None


async def test_two_hellos_are_refused(serve: Serve, raw: Raw) -> None:
    peer = await raw((await serve(TCP, secret=SECRET)).address)
    await handshake(peer, b"c" * 16)
    peer.send("hello", Hello(frames.VERSION, 0, 0, b"d" * 16))
    assert await peer.receive() is None


async def test_a_stranger_cannot_fill_the_memory(serve: Serve, raw: Raw) -> None:
    peer = await raw((await serve(TCP, secret=SECRET)).address)
    assert (await peer.receive()).kind == "hello"
    peer.writer.write((1 << 29).to_bytes(4, "little") + bytes(1 << 20))
    with contextlib.suppress(ConnectionResetError):  # when it closes while we still write
        assert await peer.receive() is None


async def test_malformed_frames_end_only_their_own_connection(
    serve: Serve, raw: Raw, unix: str
) -> None:
    server = await serve(unix, echo)
    good = await connect(server.address)
    for junk in (b"\xff" * 8, b"\x04\0\0\0\xff\xff\xff\xff", b"\x05\0\0\0\x01\0\0\0\xc1"):
        peer = await raw(server.address)
        assert (await peer.receive()).kind == "hello"
        peer.send("hello", Hello(frames.VERSION, 0, 0, b""))
        peer.writer.write(junk)
        assert await peer.receive() is None
    assert msgspec.msgpack.decode((await good.request("echo", 1)).meta) == 1
    good.close()


async def test_a_bad_tensor_ends_the_connection_quietly(serve: Serve, raw: Raw, unix: str) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _l, context: failures.append(context))
    peer = await raw((await serve(unix, echo)).address)
    await peer.receive()
    peer.send("hello", Hello(frames.VERSION, 0, 0, b""))
    header = msgspec.msgpack.encode(["echo", 1, None, [["x", "BYTES", [1], 5]]])
    frame = len(header).to_bytes(4, "little") + header + b"\x02\0\0\0a"
    peer.writer.write(len(frame).to_bytes(4, "little") + frame)
    assert await peer.receive() is None
    assert not failures


async def test_a_silent_server_times_out(unix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.channel.endpoint.HANDSHAKE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 3600.0)  # its own watchdog
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_unix_server(silent, unix[5:])
    with pytest.raises(ChannelClosed, match="cannot connect"):
        await connect(unix)
    async with asyncio.timeout(60):
        await ended.wait()
    server.close()


async def test_a_silent_client_is_put_out(
    serve: Serve, raw: Raw, unix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 0.05)
    server = await serve(unix)
    peer = await raw(unix)
    assert (await peer.receive()).kind == "hello"
    assert await peer.receive() is None
    assert not server.connections


async def test_the_watchdog_stops_with_the_handshake(
    serve: Serve, unix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_TIMEOUT_S", 1234.0)
    loop = asyncio.get_running_loop()
    call_later, watchdogs = loop.call_later, []

    def noted(delay: float, *arguments: Any) -> asyncio.TimerHandle:
        handle = call_later(delay, *arguments)
        if delay == 1234.0:
            watchdogs.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_later", noted)
    connection = await connect((await serve(unix, echo)).address)
    assert msgspec.msgpack.decode((await connection.request("echo", 1)).meta) == 1
    assert [each.cancelled() for each in watchdogs] == [True, True]  # one at each end
    connection.close()


async def test_an_unknown_error_of_the_peer_is_a_failed_model(
    serve: Serve, raw: Raw, unix: str
) -> None:
    def answer(connection: Connection, message: Message) -> None:
        connection._write("failure", message.id, {"error": message.kind, "message": "why"})

    connection = await connect((await serve(unix, answer)).address)
    for kind in ("NoSuchError", "annotations", "unknown_model"):
        with pytest.raises(errors.ModelFailed, match="why"):
            await connection.request(kind, None)
    connection.close()


async def test_tcp_connections_notice_a_dead_host(serve: Serve) -> None:
    import socket

    server = await serve(TCP, echo, secret=SECRET)
    connection = await connect(server.address, SECRET)
    for end in (connection, *server.connections):
        assert end._transport is not None
        wire = end._transport.get_extra_info("socket")
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    connection.close()
