"""A plain ModelInfer call on an HTTP/2 stream."""

from __future__ import annotations

from collections import deque

from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Ticket
from serving.gateway.direct.backlog import Waiter
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.known_heads import Head2


class Call:
    """A plain ModelInfer call from its headers to its answer."""

    __slots__ = (
        "began", "body", "charged", "complete", "context", "deadline", "head", "ident", "received",
        "stuck", "ticket", "trailers", "unacknowledged", "waiter", "waiting", "window",
    )  # fmt: skip

    begun = False
    endless = False
    refused = False

    def __init__(
        self, ident: int, head: Head2, context: RequestContext, window: int, deadline: float
    ) -> None:
        self.ident = ident
        self.head = head
        self.context = context
        self.window = window
        self.deadline = deadline
        self.stuck = NEVER
        self.body: BodyBuffer | None = None
        self.received = 0
        self.began = 0.0
        """When its message was whole, monotonic; 0 before that."""
        self.charged = 0
        self.unacknowledged = 0
        self.complete = False
        self.ticket: Ticket | None = None
        self.waiter: Waiter | None = None
        self.waiting: deque[tuple[bytes | memoryview, bool]] | None = None
        self.trailers = b""

    def lost(self) -> None:
        """Nobody waits for it any more."""
        self.waiting = None
        if self.ticket is not None:
            self.ticket.cancel()
        if self.waiter is not None:
            self.waiter.cancel()
