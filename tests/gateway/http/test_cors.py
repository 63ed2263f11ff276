"""Answers to web pages: nothing for them by default, and never the routes of orders."""

from __future__ import annotations

from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.web import WebAccess
from serving.gateway.asgi import VigilApp
from serving.gateway.http.cors import Cors

APP = "https://app.example.com"
BODY = b'{"id":"r7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
INFER = "/v2/models/m/infer"
PREFLIGHT = [
    ("origin", APP),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "content-type,x-request-id"),
]
ORDERS = [
    "/v2/repository/models/m/load", "/v2/repository/models/m/unload", "/v2/logging",
    "/v2/trace/setting", "/v2/models/m/trace/setting",
]  # fmt: skip


@pytest.fixture
def app(app: VigilApp, request: pytest.FixtureRequest) -> VigilApp:
    origins = getattr(request, "param", (APP, "http://localhost:3000"))
    app.cors = Cors(origins) if origins else None
    app.access = Access(WebAccess(origins))
    return app


def of_cors(headers: dict[str, str]) -> set[str]:
    return {name for name in headers if name.startswith("access-control-")}


@pytest.mark.parametrize("app", [()], indirect=True)
async def test_by_default_no_page_is_told_anything(ask: Any) -> None:
    for method, headers, status in (("POST", [("origin", APP)], 403), ("OPTIONS", PREFLIGHT, 200)):
        answer = await ask(method, INFER, BODY, headers)
        assert answer.status == status
        assert "vary" not in answer.headers
        assert not of_cors(answer.headers)


async def test_a_preflight_is_answered(ask: Any) -> None:
    answer = await ask("OPTIONS", INFER, headers=PREFLIGHT)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "content-type,x-request-id"
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", INFER, 200),
        ("GET", "/v2", 200),
        ("HEAD", "/v2/models/m", 200),
        ("GET", "/v2/models/m/config", 200),
        ("POST", "/v2/repository/index", 200),
        ("POST", "/v2/models/q/infer", 404),
        ("POST", "/v2/models/m/explain", 501),
        ("POST", "/v2/models/m/labels", 400),
        ("PUT", INFER, 405),
    ],
)
async def test_answers_and_errors_can_be_read(
    ask: Any, origin: str, method: str, path: str, status: int
) -> None:
    asked = b"" if path.endswith("index") else BODY
    answer = await ask(method, path, asked, [("origin", origin)])
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == origin
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "inference-header-content-length", "retry-after"} <= set(exposed)
    if status == 200 and path == INFER:
        assert answer.headers["x-request-id"] == "r7"


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", APP + ".evil.org", "*"])
async def test_other_pages_are_told_nothing(ask: Any, origin: str) -> None:
    for method, more in (("GET", []), ("OPTIONS", PREFLIGHT[1:])):
        answer = await ask(method, "/v2/models/m", headers=[("origin", origin), *more])
        assert not of_cors(answer.headers)
        assert answer.headers["vary"] == "origin"  # a cache must not give it to another page


@pytest.mark.parametrize("app", [("*",), (APP,)], indirect=True)
@pytest.mark.parametrize("path", ORDERS)
async def test_no_page_gives_orders_or_reads_settings(ask: Any, path: str) -> None:
    answer = await ask("OPTIONS", path, headers=PREFLIGHT)
    assert not of_cors(answer.headers)
    answer = await ask("POST", path, b"{}", [("origin", APP)])
    assert answer.status == 403
    assert not of_cors(answer.headers)
    if "GET" in (await ask("OPTIONS", path)).headers["allow"]:
        assert not of_cors((await ask("GET", path, headers=[("origin", APP)])).headers)


@pytest.mark.parametrize("app", [("*",)], indirect=True)
async def test_every_page_may_read_where_the_operator_says_so(ask: Any) -> None:
    answer = await ask("POST", INFER, BODY, [("origin", "null")])
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers


async def test_what_answers_vary_by_is_one_header(ask: Any) -> None:
    wide = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[900,2],"data":[%b1]}]}'
    headers = [("origin", APP), ("accept-encoding", "gzip")]
    answer = await ask("POST", INFER, wide % (b"1," * 1799), headers)
    assert answer.status == 200
    assert answer.headers["vary"] == "accept-encoding, origin"


async def test_requests_without_an_origin_are_as_before(ask: Any) -> None:
    answer = await ask("POST", INFER, BODY)
    assert "vary" not in answer.headers
    assert not of_cors(answer.headers)
    assert (await ask("GET", "/nowhere", headers=[("origin", APP)])).status == 404
