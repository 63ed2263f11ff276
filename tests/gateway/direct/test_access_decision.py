"""Another decision than today's reaches the quick paths of the direct ingress as well."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from serving.access.scopes import Scope
from serving.protocol.status import PERMISSION_DENIED

SAYS = "the decision says no"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: v\r\n\r\n"


def grpc_end(answer) -> tuple[int, str]:
    said = {**answer.headers, **answer.trailers}
    return int(said["grpc-status"]), unquote(said.get("grpc-message", ""))


@pytest.mark.parametrize("asked", ["infer", "m"])
async def test_an_inference_over_http_1(deny, server, connect, post, asked):
    client = await connect()
    await client.send(post())  # its head is known from now on, and its verdict must not be
    assert (await client.answer())[0] == 200
    deny(lambda scope, model, _name: asked in (scope, model))
    for _ in range(2):
        await client.send(post())
        status, _, body = await client.answer()
        assert (status, json.loads(body)) == (403, {"error": SAYS})
    await client.send(LIVE)
    assert (await client.answer())[0] == 200
    deny(lambda *_: False)
    await client.send(post())
    assert (await client.answer())[0] == 200


async def test_everything_else_over_http_1(deny, server, connect):
    client = await connect()
    deny(lambda scope, _model, _name: scope is Scope.HEALTH)
    await client.send(LIVE)
    status, _, body = await client.answer()
    assert (status, json.loads(body)) == (403, {"error": SAYS})


@pytest.mark.parametrize("asked", ["infer", "m"])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_call_over_http_2(deny, server, connect2, message, asked, pieces):
    client = await connect2()
    assert grpc_end(await client.answer(await client.call(message)))[0] == 0
    deny(lambda scope, model, _name: asked in (scope, model))
    for _ in range(2):
        answer = await client.answer(await client.call(message, pieces=pieces))
        assert grpc_end(answer) == (PERMISSION_DENIED, SAYS)
    live = await client.answer(await client.ask("/v2/health/live"))
    assert live.headers[":status"] == "200"
    deny(lambda *_: False)
    assert grpc_end(await client.answer(await client.call(message)))[0] == 0


async def test_everything_else_over_http_2(deny, server, connect2):
    client = await connect2()
    deny(lambda scope, _model, _name: scope is Scope.HEALTH)
    answer = await client.answer(await client.ask("/v2/health/live"))
    assert (answer.headers[":status"], json.loads(answer.body)) == ("403", {"error": SAYS})


def of(name: str) -> str:
    return f"Authorization: {name}\r\n" if name else ""


async def test_whoever_asks_over_http_1(deny, server, connect, post):
    deny(lambda _scope, _model, name: name == "mallory")
    client = await connect()
    asked = ["alice", "mallory", "", "mallory", "alice", "mallory"]  # heads known and new
    found = []
    for name in asked:
        await client.send(post(headers=of(name)))
        found.append((await client.answer())[0])
    assert found == [403 if name == "mallory" else 200 for name in asked]


async def test_whoever_calls_over_http_2(deny, server, connect2, message):
    deny(lambda _scope, _model, name: name == "mallory")
    client = await connect2()
    asked = ["alice", "mallory", "", "mallory", "alice", "mallory"]
    found = []
    for name in asked:
        extra = [("authorization", name)] if name else []
        found.append(grpc_end(await client.answer(await client.call(message, *extra)))[0])
    assert found == [PERMISSION_DENIED if name == "mallory" else 0 for name in asked]


async def test_the_context_of_quick_requests_says_who_asks(deny, link, connect, post):
    principals, send = [], link.send

    async def keep(batch):
        principals.extend(item.context.principal.name for item in batch.items)
        return await send(batch)

    link.send = keep
    client = await connect()
    for name in ("alice", "", "bob", "bob"):
        await client.send(post(headers=of(name)))
        assert (await client.answer())[0] == 200
    assert principals == ["alice", "", "bob", "bob"]
