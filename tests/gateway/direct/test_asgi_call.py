"""What the direct ingress hands to the ASGI app, and how the answer comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.gateway.body_budget import COUNTED
from serving.gateway.direct.asgi_call import ResponseWriter, WholeBody, make_scope

HEADERS = [(b"content-type", b"text/plain")]


@pytest.mark.parametrize("client", [None, ("10.0.0.7", 5)])
def test_a_scope_is_what_asgi_3_asks_for(client: tuple[str, int] | None) -> None:
    scope = make_scope("GET", "/v2/\u00e9", b"a=1", HEADERS, "1.1", client)
    assert scope.pop("asgi") == {"version": "3.0", "spec_version": "2.4"}
    assert scope.pop("extensions") == {"http.response.trailers": {}, COUNTED: {}}
    assert scope == {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/v2/\u00e9", "raw_path": "/v2/\u00e9".encode(), "query_string": b"a=1",
        "root_path": "", "headers": HEADERS, "client": client, "server": None,
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"whole"])
async def test_a_body_comes_once_and_then_the_end_of_the_client(body: bytes) -> None:
    receive = WholeBody(body)
    assert await receive() == {"type": "http.request", "body": body, "more_body": False}
    waiting = asyncio.ensure_future(receive())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    receive.gone.set()
    assert await waiting == {"type": "http.disconnect"}
    assert await receive() == {"type": "http.disconnect"}


async def test_a_client_that_left_at_once_has_sent_its_body_all_the_same() -> None:
    receive = WholeBody(b"whole")
    receive.gone.set()
    assert (await receive())["body"] == b"whole"
    assert (await receive())["type"] == "http.disconnect"


def start(status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, **more}


def piece(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("messages", "written"),
    [
        ([start(), piece(b"a", False)], (200, [], b"a")),
        ([start(404, headers=HEADERS), piece(b"a", True), piece(b"", True), piece(b"b", False)],
         (404, HEADERS, b"ab")),
        ([start(), {"type": "http.response.body"}], (200, [], b"")),
        ([start(204, headers=tuple(HEADERS)), piece(b"", False), piece(b"late", False)],
         (204, HEADERS, b"")),
        ([start(), piece(b"a", True), {"type": "http.response.trailers", "headers": []},
          piece(b"b", False)], (200, [], b"ab")),
    ],
    ids=["one piece", "pieces", "nothing", "what comes late", "trailers between"],
)  # fmt: skip
async def test_an_answer_is_written_once_it_is_complete(messages: Any, written: Any) -> None:
    calls: list[Any] = []
    writer = ResponseWriter(lambda *answer: calls.append(answer))
    for message in messages:
        assert writer.done == bool(calls)
        await writer(message)
    assert calls == [written]
    assert writer.done


async def test_an_answer_that_is_not_complete_is_not_written() -> None:
    calls: list[Any] = []
    writer = ResponseWriter(lambda *answer: calls.append(answer))
    for message in (start(), piece(b"a", True)):
        await writer(message)
    assert not calls
    assert not writer.done


async def test_headers_are_a_copy_of_the_app_s() -> None:
    calls: list[Any] = []
    writer = ResponseWriter(lambda *answer: calls.append(answer))
    headers = list(HEADERS)
    await writer(start(headers=headers))
    headers.clear()
    await writer(piece(b"", False))
    assert calls[0][1] == HEADERS
