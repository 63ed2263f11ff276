"""Rows of requests with bytes changed, cut anywhere: no error of ours, no hang, nothing left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random

import pytest
from hpack import Encoder

from serving.gateway.direct.limits import Limits
from serving.http2 import frames as f

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LINES = [
    b"POST /v2/models/m/infer HTTP/1.1", b"POST /v2/models/m/infer HTTP/1.0", b"GET /v2 HTTP/1.1",
    b"HEAD /v2 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"POST /v2/models/m/explain HTTP/1.1",
]  # fmt: skip
LENGTH = b"Content-Length: %d" % len(BODY)
HEADERS = [
    b"Transfer-Encoding: chunked", b"Accept-Encoding: gzip", b"Content-Encoding: gzip",
    b"Inference-Header-Content-Length: 0", b"Expect: 100-continue", b"Connection: close",
    b"Upgrade: h2c",
]  # fmt: skip
PATHS = [
    "/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ServerLive",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/v2/models/m/infer", "/v2",
]  # fmt: skip
EXTRA = [[], [("content-length", "31")], [("grpc-timeout", "1m")], [("grpc-encoding", "gzip")]]


def noisy(generator: random.Random, content: bytes) -> bytes:
    text = bytearray(content)
    for _ in range(generator.choice([0, 0, 1, 1, 2, 5])):
        at = generator.randrange(len(text))
        text[at : at + generator.randrange(8)] = generator.randbytes(generator.randrange(6))
    return bytes(text)


def first(generator: random.Random) -> bytes:
    """Return a row of requests over HTTP/1.1."""
    row = b""
    for _ in range(generator.randrange(1, 6)):
        head = [generator.choice(LINES), b"Host: v"]
        head += generator.sample([LENGTH, LENGTH + b"1", *HEADERS], generator.randrange(4))
        row += b"\r\n".join([*head, b"", generator.choice([BODY, CHUNKS, b""])])
    return row


def second(generator: random.Random, message: bytes) -> bytes:
    """Return a row of frames of HTTP/2."""
    row, encoder, ident = f.PREFACE + f.settings({}), Encoder(), 1
    bodies = [b"\0" + len(message).to_bytes(4, "big") + message, BODY, b"", b"\1\0\0\0\3abc"]
    for _ in range(generator.randrange(1, 12)):
        if generator.random() < 0.6:
            path = generator.choice(PATHS)
            pairs = [(":method", "POST"), (":scheme", "http"), (":path", path)]
            if path[1] != "v":
                pairs.append(("content-type", "application/grpc"))
            block = encoder.encode([*pairs, *generator.choice(EXTRA)])
            row += f.frame(f.HEADERS, generator.choice([4, 4, 4, 5, 0]), ident, block)
            row += f.frame(f.DATA, generator.randrange(2), ident, generator.choice(bodies))
            ident += 2
        else:
            stream = generator.choice([0, ident, max(1, ident - 2)])
            payload = generator.randbytes(generator.choice([0, 4, 5, 6, 8, 20]))
            row += f.frame(generator.randrange(11), generator.randrange(256), stream, payload)
    return row


class TestNoise:
    @pytest.fixture
    def limits(self):
        return Limits(head_s=0.3, body_s=0.3, idle_s=0.5, stall_s=0.5, linger_s=0.1, sweep_s=0.05)

    async def test_it_does_no_harm(self, connect, message, server, caplog, post):
        generator = random.Random(7)

        async def talk(content):
            client = await connect()
            cuts = sorted(generator.choices(range(len(content)), k=generator.choice([0, 1, 3, 30])))
            with contextlib.suppress(ConnectionError):
                for start, end in itertools.pairwise([0, *cuts, len(content)]):
                    await client.send(content[start:end])
                    await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                await client.rest()  # which waits for ten seconds at most

        for _ in range(10):
            rows = [first(generator) for _ in range(15)]
            rows += [second(generator, message) for _ in range(15)]
            await asyncio.gather(*(talk(noisy(generator, row)) for row in rows))
            good = await connect()
            await good.send(post())
            assert b"[2.0,4.0]" in (await good.answer())[2]
            await good.close()
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
        async with asyncio.timeout(60):
            while server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not [task for task in asyncio.all_tasks() if "_run" in repr(task.get_coro())]
