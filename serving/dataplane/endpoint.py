"""What answers the requests for a name and version: today a served version.

Transports and the router know no more of it than this, so a cache in front of another endpoint, a
graph of several, or another server can take its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from serving.config import ModelConfig
from serving.dataplane.context import RequestContext
from serving.protocol.messages import InferRequest, InferResponse


class Settled(Protocol):
    """What becomes the answer of one request; `Pending` is one.

    Attributes:
        future: done once there is an answer or an error. Errors that clients are to see are
            `VigilError`.
        on_done: to be called after that, in the same turn of the loop, and once; it must not raise.
    """

    future: asyncio.Future[Any]
    on_done: Callable[[], None] | None


class Ticket:
    """An admitted request: what it asked for, and what gets its answer.

    Attributes:
        request: as it was decoded.
        endpoint: what admitted it; its `finish` takes the ticket.
        started: when, in monotonic seconds.
        item: gets the answer.
        kept: what the endpoint keeps with the request; it is nobody else's.
    """

    __slots__ = ("endpoint", "item", "kept", "request", "started")

    def __init__(
        self,
        request: InferRequest,
        endpoint: Endpoint,
        started: float,
        item: Settled,
        kept: Any = None,
    ) -> None:
        self.request = request
        self.endpoint = endpoint
        self.started = started
        self.item = item
        self.kept = kept

    def then(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when there is an answer for `finish`; it must not raise.

        It is called in the loop's turn in which the answer comes: a future's callbacks would be a
        turn later, behind everything else that has arrived by then.
        """
        if self.item.future.done():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self.item.on_done = callback

    def cancel(self) -> None:
        """Give it up: nobody waits for the answer any more, and nobody is told."""
        self.item.on_done = None
        if self.item.future.cancel():
            self.endpoint.abandon(self)


class Endpoint(Protocol):
    """Answers requests for one version of one model. Belongs to one event loop.

    Every ticket of `begin` comes back once: to `finish`, or to `abandon`.

    Attributes:
        name, version: what it answers for; the version is a whole number as text.
        config: declares inputs and outputs.
        problem: why it is not ready, for people.
    """

    name: str
    version: str
    config: ModelConfig
    problem: str

    @property
    def ready(self) -> bool:
        """Whether it can answer now."""

    def begin(self, request: InferRequest, context: RequestContext, arm: str = "") -> Ticket:
        """Admit one request.

        Args:
            request: decoded, not yet checked against the model.
            context: what it came with.
            arm: see `Route`; it belongs into what is recorded of the request.

        Raises:
            VigilError: it is refused; that is counted and logged.
        """

    def finish(self, ticket: Ticket) -> InferResponse:
        """Return the answer of a ticket of its own whose `item` is settled, and count it.

        Raises:
            VigilError: whatever went wrong; that is counted and logged.
        """

    def abandon(self, ticket: Ticket) -> None:
        """Count a ticket of its own that was cancelled: nobody waits for it any more."""
