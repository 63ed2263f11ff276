"""The whole ingress: its ports, real clients, broken bytes, and its end."""

from __future__ import annotations

import asyncio
import json
import random

import grpc
import httpx
import numpy as np
import pytest

from serving.gateway.direct import server as server_module
from serving.http2 import frames as f
from serving.protocol.pb.open_inference_pb2 import ModelInferResponse

METHOD = "/inference.GRPCInferenceService/ModelInfer"
BLOCK = (
    b"\x83\x86\x44"
    + bytes((len(METHOD),))
    + METHOD.encode()
    + f.literal(b"content-type", b"application/grpc")
)
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: v\r\n\r\n"


@pytest.mark.parametrize("port", [0, 1])
@pytest.mark.parametrize("http2", [False, True])
async def test_httpx_is_served_on_both_ports(server, port, http2, post):
    body = post()[post().index(b"{") :]
    url = f"http://127.0.0.1:{server.ports[port]}"
    async with httpx.AsyncClient(
        http1=not http2, http2=http2, trust_env=False, timeout=60
    ) as client:
        for _ in range(3):
            answer = await client.post(f"{url}/v2/models/m/infer", content=body)
            assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]
        assert (await client.get(f"{url}/v2/models/m")).json()["name"] == "m"

        async def pieces():
            for at in range(0, len(body), 7):
                yield body[at : at + 7]

        answer = await client.post(f"{url}/v2/models/m/infer", content=pieces())
        assert answer.json()["id"] == "q"


async def test_grpc_is_served_on_both_ports(server, message):
    for port in server.ports:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(METHOD, response_deserializer=ModelInferResponse.FromString)
            answers = await asyncio.gather(*(call(message, timeout=60) for _ in range(20)))
            assert {a.raw_output_contents[0] for a in answers} == {
                np.array([2, 4], "<f4").tobytes()
            }
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call(b"\xff", timeout=60)
            assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def mutated(random_, raw):
    data = bytearray(raw)
    for _ in range(random_.randint(1, 4)):
        at, kind = random_.randrange(len(data)), random_.randrange(4)
        if kind == 0:
            data[at] = random_.randrange(256)
        elif kind == 1:
            del data[at : at + random_.randint(1, 9)]
        elif kind == 2:
            data[at:at] = random_.randbytes(random_.randint(1, 9))
        else:
            data[at:at] = data[: random_.randint(1, len(data))]
        if not data:
            data += b"x"
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["http1", "chunked", "http2"])
async def test_broken_bytes_harm_nobody_else(connect, server, message, post, kind, seed, caplog):
    random_ = random.Random(f"{kind}{seed}")
    body = post()[post().index(b"{") :]
    chunked = post().replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    chunked = chunked.replace(body, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    prefix = b"\0" + len(message).to_bytes(4, "big")
    http2 = f.PREFACE + f.settings({4: 100}) + b"".join(
        f.frame(f.HEADERS, f.END_HEADERS, ident, BLOCK)
        + f.frame(f.DATA, f.END_STREAM, ident, prefix + message)
        + f.window_update(0, 100)
        for ident in (1, 3, 5)
    )  # fmt: skip
    raw = {"http1": post() + GET + post(), "chunked": chunked * 2, "http2": http2}[kind]
    for _ in range(60):
        client = await connect()
        data = mutated(random_, raw)
        cut = random_.randrange(len(data))
        try:
            await client.send(data[:cut])
            await asyncio.sleep(0)
            await client.send(data[cut:])
        except ConnectionError:
            pass
        await asyncio.sleep(0)
        await client.close()
    client = await connect()
    await client.send(post())
    status, _, answer = await client.answer()
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [2.0, 4.0]
    await client.close()
    async with asyncio.timeout(60):
        while server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "Traceback" not in caplog.text
    assert "Exception in" not in caplog.text


async def test_the_end_cuts_nothing(connect, server, post, message, link):
    idle, late, busy, busy2 = [await connect() for _ in range(4)]
    for client in (idle, late):
        await client.send(GET)
        assert (await client.answer())[0] == 200
    new = await connect()
    link.hold = asyncio.Event()
    await busy.send(post())
    call = f.frame(f.HEADERS, f.END_HEADERS, 1, BLOCK)
    data = f.frame(f.DATA, f.END_STREAM, 1, b"\0" + len(message).to_bytes(4, "big") + message)
    await busy2.send(f.PREFACE + f.settings({}) + call + data)
    async with asyncio.timeout(60):
        while len(server.connections) < 5 or not all(  # noqa: ASYNC110
            getattr(c, "_answering", True) or c._head is None for c in server.connections
        ):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    draining = asyncio.ensure_future(server.drain(10))
    await asyncio.sleep(0.05)
    for client in (late, new):  # within the linger time, a new request is answered
        await client.send(GET)
        status, headers, _ = await client.answer()
        assert status == 200
        assert headers["connection"] == "close"
    assert await idle.rest() == b""
    link.hold.set()
    assert (await busy.answer())[1]["connection"] == "close"
    rest = await busy2.rest()
    first, second = f.goaway(2**31 - 1, f.NO_ERROR), f.goaway(1, f.NO_ERROR)
    assert 0 < rest.index(first) < rest.index(second) < rest.index(b"grpc-status\x010")
    for client in (idle, late, new, busy, busy2):
        await client.close()
    assert await draining


async def test_without_a_connection_the_end_waits_for_nobody(server, monkeypatch):
    monkeypatch.setattr(server_module, "LINGER_S", 3600.0)
    async with asyncio.timeout(60):
        assert await server.drain(36_000)


async def test_whoever_was_accepted_as_the_end_began_is_answered(
    connect, server, post, monkeypatch
):
    opening, draining = server_module.NewConnection, []

    def accepted(*arguments):
        assert not server.connections
        draining.append(asyncio.ensure_future(server.drain(36_000)))
        return opening(*arguments)

    monkeypatch.setattr(server_module, "LINGER_S", 3600.0)
    monkeypatch.setattr(server_module, "NewConnection", accepted)
    client = await connect()
    await client.send(post())
    assert (await client.answer())[0] == 200
    assert not draining[0].done()
    draining[0].cancel()


async def test_what_does_not_end_is_cut_at_the_end_of_the_time(connect, server, post, link):
    link.hold = asyncio.Event()
    client = await connect()
    await client.send(post())
    async with asyncio.timeout(60):
        while not any(getattr(c, "_answering", False) for c in server.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not await server.drain(0.1)
    link.hold.set()


INFER = ("POST", "/v2/models/{model_name}[/versions/{model_version}]/infer")


async def test_every_answer_over_http1_is_counted_once(connect, post, durations):
    client = await connect()
    for data in (post(), post(headers="Accept-Encoding: gzip\r\n"), post(b"{"), GET):
        await client.send(data)
        await client.answer()
    await client.send(post().replace(b"/m/", b"/none/"))
    await client.answer()
    await client.send(b"BREW /v2 HTTP/1.1\r\nHost: v\r\n\r\n")
    await client.answer()
    await client.send(b"nonsense\r\n\r\n")
    assert (await client.answer())[0] == 400
    assert durations() == {
        (*INFER, "200"): 2,
        (*INFER, "400"): 1,
        (*INFER, "404"): 1,
        ("GET", "/v2/health/live", "200"): 1,
        ("_OTHER", "_OTHER", "405"): 1,
        ("_OTHER", "_OTHER", "400"): 1,
    }


async def test_a_body_that_is_refused_is_counted_by_its_route(connect, post, durations):
    client = await connect()
    await client.send(post().replace(b"Content-Length: ", b"Content-Length: 99999"))
    assert (await client.answer())[0] == 413
    client = await connect()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n4e20\r\n" + b" " * 20_000 + b"\r\n0\r\n\r\n"
    await client.send(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: v\r\n" + chunks)
    assert (await client.answer())[0] == 413
    found = durations()
    assert sum(found.values()) == 2
    assert {key[2] for key in found} == {"413"}


async def test_every_answer_over_http2_is_counted_once(connect2, message, durations):
    client = await connect2()
    for sent in (message, b"\xff", message):
        await client.answer(await client.call(sent))
    await client.answer(await client.ask("/v2"))
    await client.answer(await client.ask("/v2/none"))
    await client.answer(await client.ask("/v2/models/m/infer", "POST", b" " * 20_000))
    await client.answer(await client.call(message + b"\0" * 20_000))
    assert durations() == {
        (METHOD[1:], "OK"): 2,
        (METHOD[1:], "INVALID_ARGUMENT"): 1,
        (METHOD[1:], "RESOURCE_EXHAUSTED"): 1,
        ("GET", "/v2", "200"): 1,
        ("GET", "_OTHER", "404"): 1,
        (*INFER, "413"): 1,
    }


async def test_a_plain_inference_is_one_entry_of_a_series_that_is_there(
    connect, connect2, post, message, plane
):
    durations = plane.durations
    raw, client = await connect(), await connect2()
    before = len(plane.series.snapshot())
    for _ in range(3):
        await raw.send(post())
        await raw.answer()
        await client.answer(await client.call(message))
    assert len(plane.series.snapshot()) == before
    for prepared in (durations.inferred, durations.called):
        assert prepared.snapshot().counts[-1] == 0
        assert sum(prepared.snapshot().counts) == 3
