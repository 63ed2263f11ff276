"""What pages and foreign names reach over the direct ingress: its quick paths look as well."""

from __future__ import annotations

import json

import pytest

from serving.access.decision import Access
from serving.access.web import WebAccess
from serving.gateway.asgi import VigilApp
from serving.protocol.status import PERMISSION_DENIED

PAGE = "http://page.example"


@pytest.fixture
def app(app: VigilApp) -> VigilApp:
    app.access = Access(WebAccess([PAGE], []))
    return app


def local(request: bytes) -> bytes:
    return request.replace(b"Host: v\r\n", b"Host: localhost:8000\r\n")


@pytest.mark.parametrize(
    "line", ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"]
)
async def test_an_inference_of_a_page(connect, post, line):
    client = await connect()
    await client.send(local(post()))
    assert (await client.answer())[0] == 200
    await client.send(local(post(headers=f"{line}\r\n")))
    status, _, body = await client.answer()
    assert status == 403
    assert "listen.cors_origins" in json.loads(body)["error"]


async def test_an_inference_of_a_named_page(connect, post):
    client = await connect()
    for _ in range(2):
        await client.send(local(post(headers=f"Origin: {PAGE}\r\n")))
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_foreign_host(connect, post, method):
    client = await connect()
    await client.send(local(post()))
    assert (await client.answer())[0] == 200
    get = b"GET /v2 HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n"
    await client.send(get if method == "GET" else post().replace(b"Host: v", b"Host: evil.example"))
    status, _, body = await client.answer()
    assert status == 403
    assert "listen.allowed_hosts" in json.loads(body)["error"]


@pytest.mark.parametrize("extra", [("origin", "http://evil.example"), ("sec-fetch-site", "none2")])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_call_of_a_page(connect2, message, extra, pieces):
    client = await connect2()
    host = (":authority", "localhost")
    answer = await client.answer(await client.call(message, host=host))
    assert answer.trailers["grpc-status"] == "0"
    for _ in range(2):
        answer = await client.answer(await client.call(message, extra, pieces=pieces, host=host))
        assert int({**answer.headers, **answer.trailers}["grpc-status"]) == PERMISSION_DENIED
    answer = await client.answer(await client.call(message, ("origin", PAGE), host=host))
    assert answer.trailers["grpc-status"] == "0"


async def test_a_call_to_a_foreign_host(connect2, message):
    client = await connect2()
    answer = await client.answer(await client.call(message))
    assert int({**answer.headers, **answer.trailers}["grpc-status"]) == PERMISSION_DENIED


async def test_a_request_of_http_2_to_a_foreign_host(connect2):
    client = await connect2()
    answer = await client.answer(await client.ask("/v2"))
    assert answer.headers[":status"] == "403"
    assert "listen.allowed_hosts" in json.loads(answer.body)["error"]
