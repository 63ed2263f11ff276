"""A request's context, made once where the request enters."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from serving.access.principals import Principal
from serving.dataplane.context import Receive, RequestContext
from serving.gateway.client import client_of
from serving.telemetry.trace_context import TRACEPARENT, traceparent


def deadline_in(timeout_s: float | None) -> float | None:
    """Return when so many seconds from now have passed, by `time.monotonic`; None for None."""
    return None if timeout_s is None else time.monotonic() + timeout_s


def context_of(
    principal: Principal,
    scope: MutableMapping[str, Any],
    headers: Mapping[bytes, bytes],
    disconnect: Receive | None = None,
    timeout_s: float | None = None,
) -> RequestContext:
    """Return the context of a request that came through the ASGI app.

    Args:
        principal: who asks.
        scope: of ASGI.
        headers: by name.
        disconnect: tells whether the client has left, once its body has been read.
        timeout_s: seconds from now until the transport's deadline; None without one.
    """
    return RequestContext(
        principal=principal,
        trace=traceparent(headers.get(TRACEPARENT)),
        deadline=deadline_in(timeout_s),
        client=client_of(scope),
        disconnect=disconnect,
    )
