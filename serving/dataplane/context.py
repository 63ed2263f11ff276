"""What a request brings beside its content: made once where it enters, passed on as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from serving.access.principals import ANYBODY, Principal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's `receive` of a request whose body has been read: it tells that the client left."""


class RequestContext(msgspec.Struct, frozen=True):
    """The circumstances of one request; many requests may share one value.

    Attributes:
        principal: who asks.
        trace: W3C `traceparent` as the client sent it; empty without one.
        deadline: when the transport gives up, in seconds of `time.monotonic`; None: never. The
            request's parameter `timeout` may be earlier.
        priority: level of a request that names none itself, 1 the highest; 0: the model's default.
        client: address of whoever asks; clients take turns by it where a model says so.
        disconnect: tells whether the client has left; None where the transport cancels what
            nobody waits for.
    """

    principal: Principal = ANYBODY
    trace: str = ""
    deadline: float | None = None
    priority: int = 0
    client: str = ""
    disconnect: Receive | None = None

    def time_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one; `now` is monotonic."""
        return None if self.deadline is None else self.deadline - now


NO_CONTEXT: Final = RequestContext()
"""Of requests of which nothing is known, such as the server's own."""
