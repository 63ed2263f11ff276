"""Who asks, and what a request comes with: its context, made once for every request of the app."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from serving.dataplane.context import Receive, RequestContext

TRACEPARENT_LENGTH: Final = 55
"""Characters of a W3C `traceparent` of version 00."""


def client_of(scope: MutableMapping[str, Any]) -> str:
    """Return the address of the peer as the server in front saw it; empty when it does not say.

    Envoy is configured to take it from the connection, or from what so many trusted proxies have
    added (`listen.trusted_proxies`), and never from what a client may have sent.
    """
    client = scope.get("client")
    return client[0] if client else ""


def behind(peer: str, forwarded: str, proxies: int) -> str:
    """Return the client's address when `proxies` trusted proxies stand in front.

    Each of them has added the address of who spoke to it to the right of `x-forwarded-for`; what
    stands further left may have been sent by anybody.
    """
    if not proxies:
        return peer
    named = [part.strip() for part in forwarded.split(",")]
    return named[-proxies] if len(named) >= proxies and named[-proxies] else peer


def context_of(
    scope: MutableMapping[str, Any],
    headers: Mapping[bytes, bytes],
    *,
    timeout_s: float | None = None,
    disconnect: Receive | None = None,
) -> RequestContext:
    """Return the context of a request that came through the ASGI app.

    Args:
        scope: of ASGI.
        headers: by name.
        timeout_s: seconds from now until the transport's deadline; None without one.
        disconnect: tells whether the client has left, once its body has been read.
    """
    trace = headers.get(b"traceparent", b"")
    return RequestContext(
        trace=trace.decode("latin-1") if len(trace) == TRACEPARENT_LENGTH else "",
        deadline=None if timeout_s is None else time.monotonic() + timeout_s,
        client=client_of(scope),
        disconnect=disconnect,
    )
