"""A served version to which only copies of others' requests come: they are judged, not answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Ticket
from serving.dataplane.requests.pending import Pending
from serving.dataplane.served import ServedVersion
from serving.errors import VigilError
from serving.protocol.messages import InferRequest, InferResponse


class _Copied:
    """Stands for the answer of a copy, which is there at once and empty."""

    __slots__ = ("future", "on_done")

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future
        self.on_done: Callable[[], None] | None = None
        future.set_result(None)


class MirroredVersion(ServedVersion):
    """Takes copies, of a mesh's shadow traffic for instance; see `remote.mirror`.

    Whoever sends them is answered at once and without outputs. Where the other server is asked,
    its answers are recorded like those of any model; else inputs alone are, and there is nothing
    that could be unready.
    """

    @property
    def ready(self) -> bool:
        """Whether it can take copies."""
        return not self.config.replicated or super().ready

    def begin(self, request: InferRequest, context: RequestContext, arm: str = "") -> Ticket:
        """Take a copy; see `Endpoint.begin`.

        Raises:
            VigilError: it does not fit the model, or the other server is not asked now.
        """
        if self.config.replicated:
            # Whether whoever made the copy has left concerns nobody.
            asked = super().begin(request, msgspec.structs.replace(context, disconnect=None), arm)
            asked.then(partial(self._answered, asked))
        else:
            self._observe(request, context, arm)
        item = _Copied(asyncio.get_running_loop().create_future())
        return Ticket(request, self, time.monotonic(), item)

    def finish(self, ticket: Ticket) -> InferResponse:
        """Return an answer without outputs; see `Endpoint.finish`."""
        return InferResponse(self.name, self.version, ticket.request.id, ())

    def abandon(self, ticket: Ticket) -> None:
        """Do nothing: it is recorded already."""

    def _observe(self, request: InferRequest, context: RequestContext, arm: str) -> None:
        try:
            bound = self.binder.bind(request)
        except VigilError as error:
            self._refused(error, 0.0, request, context, arm)
            raise
        names = self.binder.input_names
        self.recorder.observed(request.id, bound, names, {}, when=time.time())

    def _answered(self, ticket: Ticket) -> None:
        assert isinstance(ticket.item, Pending)
        with contextlib.suppress(VigilError):  # which is recorded
            super().finish(ticket)
