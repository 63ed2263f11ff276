"""What a request brings beside its content: made once where it enters, passed on as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from serving.access.principals import ANYBODY, NO_CREDENTIAL, Credential, Principal
from serving.telemetry.trace_context import RequestSpan, read_traceparent

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's `receive` of a request whose body has been read: it tells that the client left."""


HTTP: Final = "http"
GRPC: Final = "grpc"
GRPC_STREAM: Final = "grpc_stream"


class RequestContext(msgspec.Struct, frozen=True):
    """The circumstances of one request; many requests may share one value.

    Attributes:
        principal: who asks.
        traceparent: that header as the client sent it, unread; empty without one. `trace` is what
            it says.
        deadline: when the transport gives up, in seconds of `time.monotonic`; None: never. The
            request's parameter `timeout` may be earlier.
        priority: level of a request that names none itself, 1 the highest; 0: the model's default.
        client: address of whoever asks; clients take turns by it where a model says so.
        disconnect: tells whether the client has left; None where the transport cancels what
            nobody waits for.
        transport: `HTTP`, `GRPC` or `GRPC_STREAM`; empty for a call within the process.
        credential: what it says of who asks, for a model on another server that wants to know;
            empty without any. It belongs into no record.
        span: of the request, where it is traced; given to it when a version admits it.
    """

    principal: Principal = ANYBODY
    traceparent: bytes = b""
    deadline: float | None = None
    priority: int = 0
    client: str = ""
    disconnect: Receive | None = None
    transport: str = ""
    span: RequestSpan | None = None
    credential: Credential = NO_CREDENTIAL

    @property
    def trace(self) -> str:
        """W3C `traceparent` that may be passed on; empty without one that can be read.

        Read when somebody asks: clients send one with each request, and few are traced.
        """
        if self.span is not None:
            return self.span.traceparent
        return read_traceparent(self.traceparent) if self.traceparent else ""

    def time_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one; `now` is monotonic."""
        return None if self.deadline is None else self.deadline - now


NO_CONTEXT: Final = RequestContext()
"""Of requests of which nothing is known, such as the server's own."""
