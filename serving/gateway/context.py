"""A request's context, made once where the request enters."""

from __future__ import annotations

import time
from collections.abc import Mapping

from serving.access.principals import CREDENTIAL, NO_CREDENTIAL, Credential, Principal
from serving.dataplane.context import HTTP, Receive, RequestContext
from serving.gateway.asgi_types import Scope
from serving.telemetry.trace_context import TRACEPARENT


def deadline_in(timeout_s: float | None) -> float | None:
    """Return when so many seconds from now have passed, by `time.monotonic`; None for None."""
    return None if timeout_s is None else time.monotonic() + timeout_s


def client_of(scope: Scope) -> str:
    """Return the address of the peer as the server in front saw it; empty when it does not say.

    Envoy is configured to take it from the connection, or from what so many trusted proxies have
    added (`listen.trusted_proxies`), and never from what a client may have sent.
    """
    client = scope.get("client")
    return client[0] if client else ""


def context_of(
    principal: Principal,
    scope: Scope,
    headers: Mapping[bytes, bytes],
    disconnect: Receive | None = None,
    timeout_s: float | None = None,
    transport: str = HTTP,
) -> RequestContext:
    """Return the context of a request that came through the ASGI app.

    Args:
        principal: who asks.
        scope: of ASGI.
        headers: by name.
        disconnect: tells whether the client has left, once its body has been read.
        timeout_s: seconds from now until the transport's deadline; None without one.
        transport: what it came by.
    """
    credential = headers.get(CREDENTIAL)
    return RequestContext(
        principal=principal,
        traceparent=headers.get(TRACEPARENT, b""),
        deadline=deadline_in(timeout_s),
        client=client_of(scope),
        disconnect=disconnect,
        transport=transport,
        credential=NO_CREDENTIAL if credential is None else Credential(credential),
    )
