"""One request handed to the ASGI app by the direct ingress: everything but plain inference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from serving.gateway.body_budget import COUNTED

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSIONS: Final[dict[str, dict[str, object]]] = {"http.response.trailers": {}, COUNTED: {}}
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


def make_scope(
    method: str,
    path: str,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    version: str,
    client: tuple[str, int] | None,
) -> Scope:
    """Return the ASGI scope of a request."""
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": None,
        "extensions": EXTENSIONS,
    }


class WholeBody:
    """`receive` for a body that is already here; then waits until the client is gone."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.gone = asyncio.Event()

    async def __call__(self) -> Message:
        """Return the body once, then the disconnect."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


class ResponseWriter:
    """`send` of an HTTP/1.1 answer: the whole answer in one write where it comes in one piece.

    Args:
        write: called with status, headers and body once the answer is complete.
    """

    def __init__(self, write: Callable[[int, list[tuple[bytes, bytes]], bytes], None]) -> None:
        self._write = write
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self.done = False

    async def __call__(self, message: Message) -> None:
        """Take one message of the app."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
            return
        if message["type"] != "http.response.body" or self.done:
            return
        self._pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            self.done = True
            self._write(self._status, self._headers, b"".join(self._pieces))
