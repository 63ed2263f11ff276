"""One HTTP/1.1 request after the other, each from its whole body to its answer.

Inference takes a path without tasks or coroutines; whatever else is asked goes to the ASGI app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic

from serving import errors
from serving.dataplane.context import NO_CONTEXT
from serving.dataplane.endpoint import Ticket
from serving.gateway.body_budget import overloaded
from serving.gateway.direct import inference
from serving.gateway.direct.asgi_call import ResponseWriter, Scope, WholeBody, make_scope
from serving.gateway.direct.backlog import Waiter
from serving.gateway.direct.known_heads import Head, InferHead
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState
from serving.gateway.direct.time_slices import CALL_UNITS, TASK_S
from serving.gateway.http.compression import pays
from serving.gateway.http.headers import by_name
from serving.gateway.http.replies import Reply, error_reply, packed_reply
from serving.gateway.http.routes import target_of
from serving.gateway.internal_errors import INTERNAL_ERROR, client_error
from serving.telemetry.counters import MOST_LATE
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.servers import OTHER

Respond = Callable[[int, bytes, bytes, int | None], None]
"""Takes status, header lines, body, and the length to tell instead of the body's."""


def header_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are sent, without the empty line behind them."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


class Exchange:
    """The request of a connection that is being answered.

    Args:
        state: what all connections share.
        transport: the connection's.
        peer: who is at its other end.
        respond: writes an answer.

    Attributes:
        charged: bytes of the body, of those that all bodies together may have.
    """

    def __init__(
        self, state: ServerState, transport: asyncio.Transport, peer: Peer, respond: Respond
    ) -> None:
        self._state = state
        self._transport = transport
        self._peer = peer
        self._respond = respond
        self._head: Head | None = None
        self._context = NO_CONTEXT
        self._ticket: Ticket | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: WholeBody | None = None
        self._waiter: Waiter | None = None
        self._inferred_ok = state.durations.inferred
        self._began = 0.0
        """When the request was whole, monotonic; 0 before that."""
        self.charged = 0

    def begin(self, head: Head, body: bytes | memoryview) -> None:
        """Answer a whole request."""
        self._head = head
        self._began = monotonic()
        state = self._state
        quick = head.infer
        if body and not self.charged:
            size, bodies = len(body), state.bodies
            if bodies.held + size > bodies.large and not bodies.fits(size, size):
                self.fail(overloaded(), head)
                return
            bodies.held += size
            self.charged = size
        if quick is None:
            self._call_app(head, bytes(body))
            return
        self._context = self._peer.context(head.forwarded, None, quick.trace, quick.credential)
        if not state.plane.crowded or not self._must_wait(head, quick, body):
            self._admit(head, quick, body)

    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""
        ticket, self._ticket = self._ticket, None
        body, self._body = self._body, None
        waiter, self._waiter = self._waiter, None
        # A cancelled task keeps its error, whose frames hold this object and the body.
        task, self._task = self._task, None
        self._head = None
        self._respond = _to_nobody  # a cycle of objects would hold the body
        self._state.bodies.release(self)
        if ticket is not None:
            ticket.cancel()
        if body is not None:
            body.gone.set()
        if waiter is not None:
            waiter.cancel()
        if task is not None:
            task.cancel()

    # -- inference ----------------------------------------------------------------------

    def _must_wait(self, head: Head, quick: InferHead, body: bytes | memoryview) -> bool:
        """Let a request wait unread if its queue is full; whether it does."""
        backlog = self._state.backlog
        waiter = backlog.place(quick.model, quick.version, self._context.client, body)
        if waiter is None:
            return False
        self._waiter = waiter
        resume = partial(self._resume, head, body if waiter.kept else b"")
        backlog.wait(waiter, self._transport, resume)
        return True

    def _resume(self, head: Head, body: bytes | memoryview, room: bool) -> None:
        """Go on with a request that has waited for room in its queue, or refuse it."""
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        assert head.infer is not None
        self._state.slices.spent += CALL_UNITS + (len(body) >> 12)
        if room:
            self._admit(head, head.infer, body)
        else:
            self.fail(self._state.backlog.refuse(waiter), head)

    def _admit(self, head: Head, quick: InferHead, body: bytes | memoryview) -> None:
        """Read and queue an inference."""
        try:
            ticket = inference.begin(self._state, quick, body, self._context)
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
            self.fail(error, head)
        else:
            self._ticket = ticket
            ticket.then(self._inferred)

    def _inferred(self) -> None:
        ticket, self._ticket = self._ticket, None
        assert ticket is not None
        head = self._head
        try:
            headers, body, binary = inference.answer(self._state, ticket)
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(inference.unwritten(ticket, error, head.path if head else ""), head)
        else:
            if head and head.infer and head.infer.packs and pays(len(body), binary):
                task = self._pack(head, headers, body)
                self._task = asyncio.get_running_loop().create_task(task)
            else:
                self._respond(200, headers, body, None)
                self._answered()

    def _answered(self) -> None:
        """Count an inference that was answered with outputs."""
        late = self._inferred_ok.late
        late.append(monotonic() - self._began)
        self._began = 0.0
        if len(late) >= MOST_LATE:
            self._inferred_ok.count_late()

    async def _pack(self, head: Head, headers: bytes, body: bytes) -> None:
        """Answer a client that likes compressed answers better."""
        accepted = by_name(head.headers)[b"accept-encoding"]
        reply = await packed_reply(Reply(200, [], body, packs=True), accepted)
        self._task = None
        self._write(200, reply.headers, reply.body, headers)
        self._answered()

    def fail(self, error: Exception, head: Head | None) -> None:
        """Answer a request that failed, whatever it failed with."""
        path = head.path if head else ""
        trace = head.infer.trace if head and head.infer else b""
        told = client_error(error, "a request could not be begun", path=path, traceparent=trace)
        reply = error_reply(told)
        self._respond(reply.status, header_lines(reply.headers), reply.body, None)
        self.refused(reply.status, head)

    def refused(self, status: int, head: Head | None) -> None:
        """Count a request that is answered without the app, and without outputs."""
        began, self._began = self._began, 0.0
        seconds = monotonic() - began if began else 0.0
        method, route = "", OTHER
        if head is not None:
            method, route = head.method, target_of(head.method, head.path).told
        self._state.durations.request(method, route, status, seconds)

    # -- everything else ----------------------------------------------------------------

    def _call_app(self, head: Head, body: bytes) -> None:
        self._began = 0.0  # the app counts its requests itself
        self._state.slices.charge(TASK_S)
        scope = make_scope(
            head.method,
            head.path,
            head.query,
            head.headers,
            head.version,
            (self._peer.asking(head.forwarded), self._peer.port),
        )
        self._body = WholeBody(body)
        run = self._run_app(scope, self._body, ResponseWriter(self._write))
        self._task = asyncio.get_running_loop().create_task(run)

    async def _run_app(self, scope: Scope, body: WholeBody, writer: ResponseWriter) -> None:
        told: errors.VigilError | None = None
        try:
            await self._state.app(scope, body, writer)
        except Exception as error:  # noqa: BLE001 - the app answers its own errors; this is the last resort
            told = client_error(error, "a request could not be answered", path=scope["path"])
        if not writer.done:
            reply = error_reply(told or errors.InternalError(INTERNAL_ERROR))
            self._write(reply.status, reply.headers, reply.body)

    def _write(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, first: bytes = b""
    ) -> None:
        # Before the answer, after which they may be those of the next request.
        self._task = self._body = None
        kept = [field for field in headers if field[0] != b"content-length"]
        lines = header_lines(kept)
        if lines.count(b"\n") > len(kept) or lines.count(b"\r") > len(kept):
            report(Event.INTERNAL_ERROR, "an answer was dropped: its headers hold line ends")
            reply = error_reply(errors.InternalError(INTERNAL_ERROR))
            status, lines, body = reply.status, header_lines(reply.headers), reply.body
        size = None
        if not body and self._head is not None and self._head.method == "HEAD":
            # The app leaves the body out by itself; what it would have been is in its headers.
            size = next((int(v) for k, v in headers if k == b"content-length"), None)
        self._respond(status, first + lines, body, size)


def _to_nobody(_status: int, _headers: bytes, _body: bytes, _size: int | None) -> None:
    """Drop an answer: its client is gone."""
