"""Long bodies with raw tensors: the same answers however the bytes come, and no way to hang."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.arena import Arena
from serving.dataplane.batching.dispatching import Dispatcher
from serving.gateway.direct.limits import Limits

LONG = 8192
ROWS = LONG // 8 + 1000


@pytest.fixture(autouse=True)
def larger(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A request of 128 kB would have more rows of this model than its queue takes.
    monkeypatch.setattr("serving.gateway.direct.http1.connection.LONG", LONG)
    server.state = replace(server.state, max_body=1 << 22)


def binary(start: int = 0, rows: int = ROWS) -> tuple[bytes, np.ndarray]:
    data = np.arange(start, start + 2 * rows, dtype="<f4").reshape(rows, 2)
    tensor = {
        "name": "x", "datatype": "FP32", "shape": [rows, 2],
        "parameters": {"binary_data_size": data.nbytes},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lines = (
        f"POST /v2/models/m/infer HTTP/1.1\r\nHost: v\r\nContent-Length: {len(head) + data.nbytes}"
        f"\r\nInference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    return lines.encode() + head + data.tobytes(), data


async def check(client: Any, data: np.ndarray) -> None:
    status, headers, body = await client.answer()
    assert status == 200, body[:300]
    at = int(headers["inference-header-content-length"])
    got = np.frombuffer(body[at:], "<f4").reshape(data.shape)
    assert np.array_equal(got, data * 2)


async def test_one_after_the_other_and_a_short_one_between(connect: Any, post: Any) -> None:
    client = await connect()
    for start in (0, 5, 9):
        request, data = binary(start)
        await client.send(request)
        await check(client, data)
        await client.send(post())
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("size", [100, 5000, LONG])
async def test_in_pieces(connect: Any, size: int) -> None:
    client = await connect()
    request, data = binary()
    for at in range(0, len(request), size):
        await client.send(request[at : at + size])
        await asyncio.sleep(0)
    await check(client, data)


async def test_the_next_request_right_behind_it_is_answered_next(connect: Any, post: Any) -> None:
    client = await connect()
    first, data = binary()
    second, more = binary(7)
    await client.send(first + second + post())
    await check(client, data)
    await check(client, more)
    assert (await client.answer())[0] == 200


async def test_after_100_continue(connect: Any) -> None:
    client = await connect()
    request, data = binary()
    head, _, body = request.partition(b"\r\n\r\n")
    await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.head())[0] == 100
    await client.send(body)
    await check(client, data)


async def test_one_that_is_too_short_for_its_tensors_is_refused(connect: Any) -> None:
    client = await connect()
    request, _ = binary()
    wrong = request.replace(b'"shape": [%d' % ROWS, b'"shape": [%d' % (ROWS + 1))
    await client.send(wrong)
    status, _, body = await client.answer()
    assert status == 400
    assert b"needs" in body
    request, data = binary(3)
    await client.send(request)
    await check(client, data)


async def test_it_is_received_where_its_replica_reads_it(
    connect: Any, server: Any, monkeypatch: Any
) -> None:
    shared = Arena(1 << 20)
    asked = []

    def receive_buffer(_dispatcher: Any, size: int, skip: int) -> memoryview | None:
        asked.append((size, skip))
        return shared.receive_buffer(size, skip)

    monkeypatch.setattr(Dispatcher, "receive_buffer", receive_buffer)
    monkeypatch.setattr("serving.gateway.direct.http1.connection.LONG", 1024)
    client = await connect()
    request, data = binary(rows=300)
    body = request.partition(b"\r\n\r\n")[2]
    half = len(request) // 2
    async with asyncio.timeout(60):
        await client.send(request[:half])
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert asked == [(len(body), len(body) - data.nbytes)]
        await client.send(request[half:])
        await check(client, data)
        while shared.used:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await client.send(request[:half])
        while len(asked) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await client.close()
        while shared.used:  # noqa: ASYNC110 - whoever leaves leaves nothing behind
            await asyncio.sleep(0)
    shared.close()


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    connect: Any, server: Any
) -> None:
    client = await connect()
    request, _ = binary()
    await client.send(request[: len(request) // 2])
    async with asyncio.timeout(60):
        while not server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await client.close()
    async with asyncio.timeout(60):
        while server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)


class TestSlow:
    @pytest.fixture
    def limits(self, limits: Limits) -> Limits:
        return msgspec.structs.replace(limits, body_s=0.2, sweep_s=0.05, linger_s=0.2)

    async def test_one_that_stops_in_the_middle_is_told_so(self, connect: Any) -> None:
        client = await connect()
        request, _ = binary()
        await client.send(request[: len(request) // 2])
        status, _, body = await client.answer()
        assert status == 408
        assert b"slowly" in body
        await client.rest()
