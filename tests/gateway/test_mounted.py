"""An app below a prefix of another application: its paths, and what is refused there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.errors import NotFound
from serving.gateway.mounted import (
    inner_path,
    is_grpc,
    refuse,
    refuse_grpc,
    under,
    without_prefix,
)


@pytest.mark.parametrize(
    ("root", "path", "inner"),
    [
        ("/m", "/m/v2", "/v2"),
        ("/m", "/v2", "/v2"),
        ("/m", "/mx/v2", "/mx/v2"),
        ("/m/", "/m", ""),
        ("", "/v2", "/v2"),
    ],
)
def test_the_prefix_is_taken_off(root: str, path: str, inner: str) -> None:
    scope = {"type": "http", "root_path": root, "path": path}
    assert inner_path(scope) == without_prefix(scope)["path"] == inner


def test_a_mount_below_a_mount() -> None:
    scope = {"type": "http", "root_path": "/proxy", "path": "/proxy/m/v2"}
    found = under(scope, "/m")
    assert found is not None
    assert (found["root_path"], found["path"]) == ("/proxy/m", "/proxy/m/v2")
    assert under({**scope, "path": "/proxy/mx"}, "/m") is None


async def refused(kind: str, method: str = "GET") -> tuple[list[Any], int]:
    """What is sent, and how many messages were taken before."""
    sent: list[Any] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await refuse({"type": kind, "method": method}, receive, send, NotFound("nothing is here"))
    return sent, taken


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_request_is_refused_unread(method: str) -> None:
    (start, end), taken = await refused("http", method)
    body = b'{"error":"nothing is here"}'
    assert (start["status"], taken) == (404, 0)
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body)
    assert end["body"] == (b"" if method == "HEAD" else body)
    assert json.loads(body) == {"error": "nothing is here"}


async def test_a_websocket_is_closed_after_it_has_asked() -> None:
    assert await refused("websocket") == ([{"type": "websocket.close", "code": 1000}], 1)


@pytest.mark.parametrize(
    ("kind", "grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/json", False),
        (b"", False),
        (None, False),
    ],
)
def test_what_a_grpc_call_is(kind: bytes | None, grpc: bool) -> None:
    headers = [] if kind is None else [(b"content-type", kind)]
    assert is_grpc({"headers": headers}) is grpc


async def test_a_grpc_call_gets_its_status_in_the_headers() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await refuse_grpc(send)
    start, end = sent
    headers = dict(start["headers"])
    assert (start["status"], headers[b"grpc-status"]) == (200, b"12")
    assert b"use HTTP here, or run `vigil up`" in headers[b"grpc-message"]
    assert end == {"type": "http.response.body", "body": b""}
