"""Serve's proxies give one request id."""

import json
from typing import Any

from serving.engines.ray import engine as ray_engine
from serving.engines.ray import proxy as ray_proxy
from serving.engines.ray.proxy import FirstRequestId, first_only


def test_the_first_id_stays() -> None:
    headers = [(b"a", b"1"), (b"x-request-id", b"mine"), (b"X-Request-ID", b"serve"), (b"b", b"2")]
    assert first_only(headers) == [(b"a", b"1"), (b"x-request-id", b"mine"), (b"b", b"2")]


def test_an_only_id_stays() -> None:
    assert first_only([(b"X-Request-ID", b"serve")]) == [(b"X-Request-ID", b"serve")]
    assert first_only([(b"a", b"1")]) == [(b"a", b"1")]


async def test_bodies_pass_untouched() -> None:
    sent: list[Any] = []
    body = {"type": "http.response.body", "body": b"x"}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"x-request-id", b"1"), (b"x-request-id", b"2")]})
        await send(body)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    await FirstRequestId(app)({}, receive, send)
    assert sent[0]["headers"] == [(b"x-request-id", b"1")]
    assert sent[1] is body


async def test_an_id_that_serve_cannot_read_is_refused_in_a_sentence() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing(*_: Any) -> None:
        raise AssertionError("was passed on")

    scope = {"type": "http", "headers": [(b"host", b"\xff"), (b"x-request-id", b"\xff\xfe")]}
    await FirstRequestId(nothing)(scope, nothing, send)
    assert sent[0]["status"] == 400
    assert "UTF-8" in json.loads(sent[1]["body"])["error"]


def test_a_local_ray_is_told_of_it(tmp_path: Any) -> None:
    environment = ray_engine.local_environment(tmp_path / "token")
    module, _, name = environment["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].partition(":")
    assert module == ray_proxy.__name__
    assert callable(getattr(ray_proxy, name))
