"""Clients that take their time or come in crowds: cut off or waited for, and nobody else waits."""

import asyncio
import contextlib
import json
import select
import socket
import time
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
HEAD = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: localhost\r\n"
MIB = 1 << 20


SLOW = {
    "headers-one-by-one": (HEAD, b"X-Slow: a\r\n"),
    "a-header-byte-by-byte": (HEAD + b"X-Slow: ", b"a"),
    "body-byte-by-byte": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body-that-never-comes": (HEAD + b"Content-Length: 100000\r\n\r\n", b""),
    "chunks-byte-by-byte": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "part-of-a-request-line": (b"POST /v2/mod", b""),
    "request-line-only": (b"GET /v2\r\n", b""),
}


SLOW_2 = ("headers-without-end", "half-a-frame", "no-body", "half-a-body")


def drip(
    wire: ModuleType, target: Any, clients: dict[str, socket.socket], limit_s: float
) -> dict[str, Any]:
    """Send each client's piece again and again until it has an answer or is closed."""
    replies: dict[str, Any] = {}
    deadline = time.monotonic() + limit_s
    while len(replies) < len(clients) and time.monotonic() < deadline:
        waiting = {clients[case]: case for case in clients if case not in replies}
        ready, _, _ = select.select(waiting, [], [], 0.3)
        for connection in ready:
            # What was still under way to a connection that is closed resets it.
            with contextlib.suppress(ConnectionError):
                replies[waiting[connection]] = wire.read_reply(connection)
            replies.setdefault(waiting[connection], wire.Reply(0, closed=True))
        for connection, case in waiting.items():
            if case not in replies:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(SLOW[case][1])
        target.still_right()  # others are not held up
    return replies


def begin_slowly(wire: ModuleType, h2: Any, how: str) -> None:
    """Send the beginning of a call that never goes on."""
    assert h2.alive()
    h2.streams[1] = wire.Stream()
    if how == "headers-without-end":
        h2.frame(wire.HEADERS, 0, 1, b"\x83\x86")
    elif how == "half-a-frame":
        h2.socket.sendall(wire.frame(wire.HEADERS, 4, 1, b"\x83\x86\x84")[:-1])
    else:
        h2.headers(1, wire.grpc_headers("/inference.GRPCInferenceService/ModelInfer"))
        h2.frame(wire.DATA, 0, 1, b"\0\0\0\0\x10abc" if how == "half-a-body" else b"")
    h2.flush()


def test_slow_clients_are_cut_off(wire: ModuleType, target: Any) -> None:
    """Of HTTP/1.1 and of HTTP/2, which wait at once: the limits are seconds."""
    with contextlib.ExitStack() as stack:
        port = target.instance.http_port
        clients = {case: stack.enter_context(wire.connect(port)) for case in SLOW}
        for case, connection in clients.items():
            connection.sendall(SLOW[case][0])
        if target.differs("slow-clients"):  # nobody else waits with them
            assert drip(wire, target, clients, 1.5) == {}
            return  # and grpcio waits for as long as the connection is open
        port = target.instance.grpc_port
        clients_2 = {how: stack.enter_context(wire.H2(port)) for how in SLOW_2}
        for how, h2 in clients_2.items():
            begin_slowly(wire, h2, how)
        replies = drip(wire, target, clients, 60)
        for how, h2 in clients_2.items():
            (stream,) = h2.wait(1)
            assert h2.closed or stream.finished, how
    assert replies.keys() == SLOW.keys(), "waited for ever"
    for case, reply in replies.items():
        if case == "request-line-only" and reply.status == 200:  # what HTTP/0.9 was
            assert reply.closed
            continue
        assert reply.status in (0, 408)
        if reply.status:
            assert "too slowly" in json.loads(reply.body)["error"]
            assert reply.closed


def test_a_slow_reader_holds_up_nobody(wire: ModuleType, target: Any) -> None:
    row = b"1,2,3,4,"
    rows = 100_000
    tensor = b'{"name":"x","datatype":"FP32","shape":[%d,4],"data":[%b]}'
    body = b'{"inputs":[' + tensor % (rows // 100, (row * (rows // 100))[:-1]) + b"]}"
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    readers = [wire.connect(target.instance.http_port) for _ in range(20)]
    try:
        for reader in readers:
            reader.sendall(request * 3)
        for _ in range(5):
            target.still_right()
    finally:
        for reader in readers:
            reader.close()


def test_a_thousand_idle_connections(wire: ModuleType, target: Any) -> None:
    idle = []
    try:
        for number in range(1000):
            idle.append(wire.connect(target.instance.http_port))
            if number % 2:
                idle[-1].sendall(HEAD)
        target.still_right()
        # One of those that have not begun yet is as good as new.
        idle[0].sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        assert wire.read_reply(idle[0]).status == 200
    finally:
        for connection in idle:
            connection.close()


def test_hundreds_that_come_and_go_at_once(target: Any) -> None:
    async def one(number: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", target.instance.http_port)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[: number % 70])
        await writer.drain()
        writer.transport.abort()

    async def crowd() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*map(one, range(500)))

    asyncio.run(crowd())


def one_byte_chunks(body: bytes) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"1\r\n%c\r\n" % byte for byte in body
    ) + b"0\r\n\r\n"  # fmt: skip


@pytest.mark.parametrize("chunks", [65_537, 500_000])
def test_one_byte_chunks(wire: ModuleType, target: Any, chunks: int) -> None:
    if target.differs("few-calls"):
        chunks = min(chunks, 65_537)
    before = target.gateway_rss()
    body = BODY + b" " * (chunks - len(BODY))
    reply = wire.exchange(target.instance.http_port, one_byte_chunks(body))
    assert reply.status == 200, reply.body[:200]
    assert json.loads(reply.body)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert target.gateway_rss() - before < 100 * MIB


def test_chunks_without_end_are_cut_off_at_the_limit(wire: ModuleType, target: Any) -> None:
    before = target.gateway_rss()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with wire.connect(target.instance.http_port) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(4096):  # 256 MiB, sixteen times the limit
                connection.sendall(chunk)
        except ConnectionError:
            pass
        else:
            connection.sendall(b"0\r\n\r\n")
        reply = wire.read_reply(connection)
    assert reply.status in (0, 413)
    assert target.gateway_rss() - before < 150 * MIB
