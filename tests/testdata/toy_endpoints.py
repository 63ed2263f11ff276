"""Endpoints that are no served version: a cache in front of another, and a graph of two steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from serving.config import ModelConfig
from serving.dataplane.context import RequestContext
from serving.dataplane.endpoint import Endpoint, Ticket
from serving.errors import VigilError
from serving.protocol.messages import InferRequest, InferResponse


class Item:
    """Becomes an answer by hand."""

    def __init__(self) -> None:
        self.future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        self.on_done: Callable[[], None] | None = None

    def settle(self, response: InferResponse | VigilError) -> None:
        if self.future.done():
            return
        if isinstance(response, VigilError):
            self.future.set_exception(response)
        else:
            self.future.set_result(response)
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done()


class Toy:
    """What both say of themselves: what the endpoint behind them says."""

    def __init__(self, inner: Endpoint, name: str) -> None:
        self.inner = inner
        self.name, self.version = name, inner.version
        self.config: ModelConfig = inner.config
        self.arms: list[str] = []
        self.abandoned = 0

    @property
    def problem(self) -> str:
        return self.inner.problem

    @property
    def ready(self) -> bool:
        return self.inner.ready


class Cache(Toy):
    """Answers a request with inputs that it has seen by the response of then."""

    def __init__(self, inner: Endpoint) -> None:
        super().__init__(inner, inner.name)
        self.known: dict[bytes, InferResponse] = {}

    def begin(self, request: InferRequest, context: RequestContext, arm: str = "") -> Ticket:
        self.arms.append(arm)
        key = b"".join(tensor.data.tobytes() for tensor in request.inputs)
        if key in self.known:
            item = Item()
            item.settle(msgspec.structs.replace(self.known[key], id=request.id))
            return Ticket(request, self, time.monotonic(), item)
        asked = self.inner.begin(request, context, arm)
        return Ticket(request, self, asked.started, asked.item, (key, asked))

    def finish(self, ticket: Ticket) -> InferResponse:
        if ticket.kept is None:
            found: InferResponse = ticket.item.future.result()
            return found
        key, asked = ticket.kept
        self.known[key] = response = self.inner.finish(asked)
        return response

    def abandon(self, ticket: Ticket) -> None:
        self.abandoned += 1
        if ticket.kept is not None:
            self.inner.abandon(ticket.kept[1])


class Twice(Toy):
    """Asks an endpoint, and asks it again with its answer."""

    def __init__(self, inner: Endpoint) -> None:
        super().__init__(inner, "twice")

    def begin(self, request: InferRequest, context: RequestContext, arm: str = "") -> Ticket:
        self.arms.append(arm)
        first = self.inner.begin(request, context, arm)
        ticket = Ticket(request, self, first.started, Item(), first)
        first.then(lambda: self._again(ticket, context, arm))
        return ticket

    def _again(self, ticket: Ticket, context: RequestContext, arm: str) -> None:
        try:
            (y,) = self.inner.finish(ticket.kept).outputs
            x = msgspec.structs.replace(y, name=ticket.request.inputs[0].name)
            request = msgspec.structs.replace(ticket.request, inputs=(x,))
            ticket.kept = self.inner.begin(request, context, arm)
            ticket.kept.then(lambda: self._last(ticket))
        except VigilError as error:
            ticket.item.settle(error)  # type: ignore[attr-defined]

    def _last(self, ticket: Ticket) -> None:
        try:
            response = self.inner.finish(ticket.kept)
            ticket.item.settle(  # type: ignore[attr-defined]
                msgspec.structs.replace(response, model_name=self.name)
            )
        except VigilError as error:
            ticket.item.settle(error)  # type: ignore[attr-defined]

    def finish(self, ticket: Ticket) -> InferResponse:
        try:
            response: InferResponse = ticket.item.future.result()
        except VigilError as error:
            raise error.anew() from None
        return response

    def abandon(self, ticket: Ticket) -> None:
        self.abandoned += 1
        ticket.kept.cancel()
