"""What pages and foreign names reach: the app itself, behind whichever ingress."""

from __future__ import annotations

from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.web import WebAccess
from serving.gateway.asgi import VigilApp
from serving.protocol.status import PERMISSION_DENIED, UNIMPLEMENTED

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
PAGE = ("origin", "https://evil.example")
HOST = ("host", "evil.example:8000")
CALLS = [
    "/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ModelStreamInfer", "/grpc.health.v1.Health/Watch", "/no/such",
]  # fmt: skip


@pytest.fixture
def app(app: VigilApp) -> VigilApp:
    app.access = Access(WebAccess(hosts=()))
    return app


@pytest.mark.parametrize("headers", [[PAGE], [HOST], [("sec-fetch-site", "same-site")]])
@pytest.mark.parametrize("path", [
    "/v2/models/m/infer", "/v2/models/m/versions/1/infer", "/v2/models/m/explain",
    "/v2/models/m/labels", "/v2/repository/index", "/v2/models/m/infer/", "/nowhere",
])  # fmt: skip
async def test_what_others_may_not_send(ask: Any, link: Any, path: str, headers: Any) -> None:
    assert (await ask("POST", "/v2/models/m/infer", BODY)).status == 200  # the path is known now
    answer = await ask("POST", path, BODY, headers)
    assert answer.status == 403
    assert "listen." in answer.json()["error"]


async def test_what_they_may_read(ask: Any) -> None:
    assert (await ask("GET", "/v2", headers=[PAGE])).status == 200
    assert (await ask("GET", "/v2", headers=[HOST])).status == 403
    assert (await ask("GET", "/v2", headers=[("host", "localhost:8000")])).status == 200


@pytest.mark.parametrize("headers", [[PAGE], [HOST]])
@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_calls_are_refused_before_they_are_read(
    ask: Any, path: str, headers: Any, method: str
) -> None:
    # A body of None is a client that has gone, which a call that is read would find out.
    grpc = ("content-type", "application/grpc")
    answer = await ask(method, path, [None], [grpc, *headers])
    assert int(answer.trailers["grpc-status"]) == PERMISSION_DENIED


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_a_call_is_a_post(ask: Any, path: str, method: str) -> None:
    answer = await ask(method, path, [None], [("content-type", "application/grpc")])
    assert int(answer.trailers["grpc-status"]) == UNIMPLEMENTED
    assert "POST" in answer.trailers["grpc-message"]


async def test_a_report_reaches_nothing(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def report(*_: Any) -> tuple[bytes, bytes]:
        return b"text/html; charset=utf-8", b"<script></script>"

    monkeypatch.setattr("serving.gateway.extensions.monitoring.report", report)
    answer = await ask("GET", "/v2/models/m/reports/drift")
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts"
    assert answer.headers["x-content-type-options"] == "nosniff"
