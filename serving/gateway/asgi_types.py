"""The types of ASGI 3, and one request with what it holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from serving.gateway.body_budget import Share
from serving.gateway.http.headers import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Exchange(msgspec.Struct, frozen=True):
    """One request as the app gets it, and the way its answer takes.

    Attributes:
        scope: of ASGI.
        headers: of the scope, by name.
        receive: gives the pieces of the body, then the disconnect.
        send: takes the answer.
        share: the bytes that the request may hold; whoever reads the body adds to it.
    """

    scope: Scope
    headers: Headers
    receive: Receive
    send: Send
    share: Share
