"""What Serve's HTTP proxies load: a middleware that keeps one request id per answer.

Serve appends an `X-Request-ID` of its own to every answer, also to one that has the client's, and
fails on a client's that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.middleware import Middleware

from serving.gateway.http.replies import sentence_reply

CALLBACK: Final = "serving.engines.ray.proxy:middlewares"
_HEADER: Final = b"x-request-id"
_READ_BY_SERVE: Final = frozenset(
    {_HEADER, b"serve_multiplexed_model_id", b"serve-multiplexed-model-id", b"x-session-id"}
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class FirstRequestId:
    """Drops every `X-Request-ID` of an answer but the first, which is the app's if it has one."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse one whose id Serve cannot read."""
        if scope.get("type") == "http" and not _readable(scope["headers"]):
            await _refuse(send)
            return

        async def once(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": first_only(message["headers"])}
            await send(message)

        await self._app(scope, receive, once)


def _readable(headers: list[tuple[bytes, bytes]]) -> bool:
    try:
        for name, value in headers:
            if name in _READ_BY_SERVE:
                value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _refuse(send: Send) -> None:
    names = ", ".join(sorted(name.decode() for name in _READ_BY_SERVE))
    reply = sentence_reply(400, f"with `ingress: serve` these headers must be UTF-8: {names}")
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def first_only(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return `headers` with at most one request id."""
    ids = [position for position, (name, _) in enumerate(headers) if name.lower() == _HEADER]
    return [pair for position, pair in enumerate(headers) if position not in ids[1:]]


def middlewares() -> list[Middleware]:
    """Return what every proxy wraps its app in."""
    return [Middleware(FirstRequestId)]
