"""Plain ModelInfer calls on an HTTP/2 connection: from a whole message to its answer, no tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import monotonic
from typing import Final

from serving.access.scopes import Scope
from serving.dataplane.endpoint import Ticket
from serving.gateway.body_budget import overloaded
from serving.gateway.direct import inference
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.open_streams import OpenStreams
from serving.gateway.direct.http2.sender import GRPC_START, Sender
from serving.gateway.direct.state import ServerState
from serving.gateway.direct.time_slices import CALL_UNITS
from serving.gateway.grpc.frames import plain_message
from serving.gateway.grpc.paths import SERVICE
from serving.gateway.internal_errors import client_error
from serving.http2 import frames as f
from serving.protocol.grpc.peek import peek_model
from serving.protocol.status import grpc_status
from serving.telemetry.counters import MOST_LATE

MESSAGE_AT: Final = 5
"""Where the message begins in the body of a call."""

MODEL_INFER: Final = SERVICE + "ModelInfer"

_INFER: Final = Scope.INFER  # a member is looked up by a call

_GRPC_OK: Final = f.literal(b"grpc-status", b"0")
# An answer in one write: frame heads without their stream, which comes between the pieces.
_OK_HEAD: Final = len(GRPC_START).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS))
_OK_END: Final = len(_GRPC_OK).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS | f.END_STREAM))
_OK_DATA: Final = bytes((f.DATA, 0))


class UnaryCalls:
    """Answers the calls of one connection.

    Args:
        state: what all connections share.
        transport: the connection's.
        streams: the open streams of the connection.
        sender: writes answers.
    """

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        streams: OpenStreams,
        sender: Sender,
    ) -> None:
        self._state = state
        self._transport = transport
        self._streams = streams
        self._sender = sender
        self._called_ok = state.durations.called

    def complete(self, call: Call, body: bytes) -> None:
        """Answer a call whose message is whole."""
        head = call.head
        if head.length >= 0 and head.length != len(body):
            self._streams.reset(call, f.PROTOCOL_ERROR)
            return
        call.complete = True
        call.began = monotonic()
        if not call.charged:
            size, bodies = len(body), self._state.bodies
            if bodies.held + size > bodies.large and not bodies.fits(size, size):
                self._decline(call, overloaded())
                return
            bodies.held += size
            call.charged = size
        if not self._state.plane.crowded or not self._must_wait(call, body):
            self._admit(call, body)

    def _must_wait(self, call: Call, body: bytes) -> bool:
        """Let a call wait unread if its queue is full; whether it does."""
        asked = peek_model(body, MESSAGE_AT)
        if asked is None:
            return False
        waiter = self._state.backlog.place(*asked, call.context.client, body)
        if waiter is None:
            return False
        call.waiter = waiter
        resume = partial(self._resume, call, body if waiter.kept else b"")
        self._state.backlog.wait(waiter, self._transport, resume)
        return True

    def _resume(self, call: Call, body: bytes, room: bool) -> None:
        """Go on with a call that has waited for room in its queue, or refuse it."""
        waiter, call.waiter = call.waiter, None
        assert waiter is not None
        self._state.slices.spent += CALL_UNITS
        if room:
            self._admit(call, body)
        else:
            self._decline(call, self._state.backlog.refuse(waiter))

    def _admit(self, call: Call, body: bytes) -> None:
        """Read and queue a call."""
        try:
            payload = plain_message(body, self._state.max_body)
            self._state.slices.spent += len(payload) >> 12
            request = self._state.grpc_requests.read(payload)
            access, principal = self._state.access, call.context.principal
            refused = access.decide(_INFER, request.model_name, principal)
            if refused is not None:
                raise refused
            ticket = self._state.plane.begin(request, call.context)
        except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
            self._decline(call, error)
        else:
            call.ticket = ticket
            ticket.then(partial(self._inferred, call, ticket))

    def _inferred(self, call: Call, ticket: Ticket) -> None:
        call.ticket = None
        try:
            response = ticket.endpoint.finish(ticket)
            message = self._state.grpc_responses.write(response, ticket.request)
        except Exception as error:  # noqa: BLE001 - as above
            self._decline(call, inference.unwritten(ticket, error, MODEL_INFER))
        else:
            if call.ident in self._streams.by_number:  # not reset in the same turn
                self._answer(call, message)

    def _answer(self, call: Call, message: bytes) -> None:
        late = self._called_ok.late
        late.append(monotonic() - call.began)
        if len(late) >= MOST_LATE:
            self._called_ok.count_late()
        sender = self._sender
        size = len(message) + 5
        ident = call.ident.to_bytes(4, "big")
        prefix = b"\x00" + len(message).to_bytes(4, "big")
        if size <= sender.room and size <= call.window and size <= sender.max_frame:
            sender.room -= size
            # Not by the sender: whoever is closing has no open streams.
            self._transport.write(
                b"".join((
                    _OK_HEAD, ident, GRPC_START,
                    size.to_bytes(3, "big"), _OK_DATA, ident, prefix, message,
                    _OK_END, ident, _GRPC_OK,
                ))
            )  # fmt: skip
            self._streams.forget(call)
            return
        self._state.bodies.release(call)
        sender.write(b"".join((_OK_HEAD, ident, GRPC_START)))
        call.trailers = b"".join((_OK_END, ident, _GRPC_OK))
        call.waiting = deque([(memoryview(prefix + message), False)])
        self._streams.flush(call)

    def _decline(self, call: Call, error: Exception) -> None:
        said = "a ModelInfer call could not be begun"
        trace = call.context.traceparent
        told = client_error(error, said, path=MODEL_INFER, traceparent=trace)
        if call.ident in self._streams.by_number:
            self._sender.fail_grpc(call.ident, told)
            seconds = monotonic() - call.began
            self._state.durations.call(MODEL_INFER, grpc_status(told), seconds)
            self._streams.forget(call)
