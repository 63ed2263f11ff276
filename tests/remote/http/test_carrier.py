"""The HTTP carrier against a peer that does what a test tells it to."""

from __future__ import annotations

import asyncio
import gzip

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

GET = UpstreamCall("/v2")
POST = UpstreamCall("/v2/models/m/infer", b"question", {"Content-Type": "application/json"})


async def request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Return the next request's first line, headers and body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    return lines[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


def answer(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *more])
    return head.encode() + b"\r\n\r\n" + body


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(answer((await request(reader))[2]))


@pytest.fixture
def client(peer, client_of):
    async def connect(access=None):
        return client_of(f"http://127.0.0.1:{peer.port}", access)

    peer.script = echo
    return connect


def saying(*chunks: bytes):
    """A script that says `chunks`, a byte at a time, for the first request, and closes."""

    async def script(reader, writer):
        await request(reader)
        for chunk in chunks:
            for at in range(len(chunk)):
                writer.write(chunk[at : at + 1])
                await asyncio.sleep(0)

    return script


async def test_what_is_sent(peer, client):
    seen = []

    async def script(reader, writer):
        while True:
            seen.append(await request(reader))
            writer.write(answer(b"{}"))

    class Secret(Access):
        def headers(self) -> dict[str, str]:
            return {"authorization": "Bearer k-1"}

    peer.script = script
    asker = await client(Secret())
    assert (await asker.send(GET)).body == b"{}"
    assert (await asker.send(POST)).body == b"{}"
    common = {
        "host": f"127.0.0.1:{peer.port}", "user-agent": "vigil", "accept": "*/*",
        "accept-encoding": "identity", "authorization": "Bearer k-1",
    }  # fmt: skip
    assert seen == [
        ("GET /v2 HTTP/1.1", common, b""),
        (
            "POST /v2/models/m/infer HTTP/1.1",
            {**common, "Content-Type": "application/json", "content-length": "8"},
            b"question",
        ),
    ]
    assert peer.connections == 1


async def test_as_many_connections_as_requests_under_way(peer, client):
    asker = await client()
    for _ in range(3):
        bodies = [b"%d" % number * 9000 for number in range(20)]
        answers = await asyncio.gather(*[asker.send(UpstreamCall("/", body)) for body in bodies])
        assert [told.body for told in answers] == bodies
    assert peer.connections == 20


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ([answer(b"abc")], b"abc"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", answer(b"abc")], b"abc"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"],
         b"abc"),
        ([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"], b"abc"),
        ([b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nabc"], b"abc"),
        ([answer(gzip.compress(b"abc"), "content-encoding: gzip")], b"abc"),
        ([answer(b"")], b""),
    ],
)  # fmt: skip
async def test_answers_of_every_kind(peer, client, said, body):
    peer.script = saying(*said)
    assert (await (await client()).send(POST)).body == body


@pytest.mark.parametrize(
    ("said", "kind", "why"),
    [
        (answer(b'{"error": "no"}', status="400 Bad Request"), InvalidInput, "no"),
        (answer(b"", status="403 Forbidden"), UpstreamDenied, "status 403"),
        (answer(b"", "location: /", status="302 Found"), ModelFailed, "status 302"),
        (answer(b"abc", "inference-header-content-length: 9"), ModelFailed, "the body has 3 bytes"),
        (answer(b"abc", "inference-header-content-length: " + "9" * 5000), ModelFailed,
         "must be a number of bytes"),
        (answer(b"abc", "content-encoding: br"), ModelFailed, "compressed as 'br'"),
        (answer(b"abc", "content-encoding: gzip"), ModelFailed, "is damaged"),
        (b"SSH-2.0-x\r\n", ModelFailed, "does not answer in HTTP"),
        (answer(b"abc")[:-1], ModelNotReady, "hung up; retry"),
        (b"HTTP/1.1 200 OK\r\nserver: o", ModelNotReady, "hung up; retry"),
        (b"", ModelNotReady, "hung up; retry"),
    ],
)  # fmt: skip
async def test_what_is_no_answer(peer, client, said, kind, why):
    peer.script = saying(said)
    told = await (await client()).refused(POST)
    assert type(told) is kind
    assert why in told.message


async def test_the_length_of_the_json_part(peer, client):
    peer.script = saying(answer(b"{}\x01\x02", "Inference-Header-Content-Length: 2"))
    told = await (await client()).send(POST)
    assert (told.body, told.json_length) == (b"{}\x01\x02", 2)


async def test_two_answers_to_one_request_are_none(peer, client):
    async def script(reader, writer):
        await request(reader)
        writer.write(answer(b"abc") + answer(b"another"))

    peer.script = script
    assert "answered twice" in (await (await client()).refused(POST)).message


async def test_what_nobody_asked_for_ends_the_connection(peer, client):
    answered, gone = asyncio.Event(), asyncio.Event()

    async def script(reader, writer):
        await request(reader)
        writer.write(answer(b"abc"))
        await answered.wait()
        writer.write(answer(b"another"))
        await reader.read()
        gone.set()

    peer.script = script
    asker = await client()
    assert (await asker.send(POST)).body == b"abc"
    answered.set()
    async with asyncio.timeout(60):
        await gone.wait()
    peer.script = echo
    assert (await asker.send(POST)).body == b"question"


async def test_a_connection_that_was_closed_while_it_lay_idle_costs_nothing(peer, client):
    closing: list[asyncio.StreamWriter] = []

    async def once(reader, writer):
        writer.write(answer((await request(reader))[2]))
        closing.append(writer)
        await request(reader)  # of the second nothing is answered

    asker = await client()
    peer.script = once
    assert (await asker.send(POST)).body == b"question"
    peer.script = echo
    assert (await asker.send(UpstreamCall("/", b"second"))).body == b"second"
    assert peer.connections == 2


async def test_a_request_on_a_fresh_connection_is_not_sent_twice(peer, client):
    seen = []

    async def script(reader, _writer):
        seen.append(await request(reader))

    peer.script = script
    assert isinstance(await (await client()).refused(POST), ModelNotReady)
    assert len(seen) == 1


async def test_a_request_whose_answer_has_begun_is_not_sent_twice(peer, client):
    seen = []

    async def script(reader, writer):
        writer.write(answer((await request(reader))[2]))
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\n")

    peer.script = script
    asker = await client()
    await asker.send(POST)
    assert isinstance(await asker.refused(POST), ModelNotReady)
    assert len(seen) == 1


async def test_a_late_answer_is_given_up_with_its_connection(peer, client):
    gone = asyncio.Event()

    async def script(reader, _writer):
        await request(reader)
        await reader.read()
        gone.set()

    peer.script = script
    asker = await client()
    told = await asker.refused(POST, 0.05)
    assert isinstance(told, DeadlineExceeded)
    assert told.message.endswith("did not answer within 0.05 s (remote.timeout_s)")
    async with asyncio.timeout(60):
        await gone.wait()
    peer.script = echo
    assert (await asker.send(POST)).body == b"question"


async def test_who_gives_up_leaves_the_connection(peer, client):
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(reader, _writer):
        await request(reader)
        asked.set()
        await reader.read()
        gone.set()

    peer.script = script
    asker = await client()
    task = asyncio.create_task(asker.send(POST))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await gone.wait()


async def test_whether_it_is_alive(peer, client):
    asker = await client()
    assert await asker.carrier.alive()
    peer.script = saying(answer(b"", status="500 Busy"))
    assert await (await client()).carrier.alive()
    await peer.stop()
    again = await client()
    assert not await again.carrier.alive()
    assert isinstance(await again.refused(POST), Unreachable)
    await peer.start()
    peer.script = echo
    async with asyncio.timeout(60):
        while not await again.carrier.alive():  # noqa: ASYNC110 - the condition is a server's
            await asyncio.sleep(0.01)
