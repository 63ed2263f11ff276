"""Plain ModelInfer calls on an HTTP/2 connection: from a whole message to its answer, no tasks."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from serving import errors
from serving.dataplane.hooks.failed_requests import log_failure
from serving.gateway.body_budget import overloaded
from serving.gateway.direct import inference
from serving.gateway.direct.http2.send import GRPC_START, Call, Sender
from serving.gateway.direct.time_slices import CALL_UNITS
from serving.gateway.grpc.frames import INTERNAL, plain_message
from serving.gateway.grpc.paths import SERVICE
from serving.http2 import frames as f
from serving.protocol.grpc.peek import peek_model
from serving.protocol.status import grpc_status
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

if TYPE_CHECKING:
    from serving.dataplane.handler import Ticket

MESSAGE_AT: Final = 5
"""Where the message begins in the body of a call."""

_GRPC_OK: Final = f.literal(b"grpc-status", b"0")
# An answer in one write: frame heads without their stream, which comes between the pieces.
_OK_HEAD: Final = len(GRPC_START).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS))
_OK_END: Final = len(_GRPC_OK).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS | f.END_STREAM))
_OK_DATA: Final = bytes((f.DATA, 0))


class Calls(Sender):
    """Answers calls."""

    def _complete(self, call: Call, body: bytes) -> None:
        """Answer a call whose message is whole."""
        head = call.head
        if head.length >= 0 and head.length != len(body):
            self.reset(call, f.PROTOCOL_ERROR)
            return
        call.complete = True
        if not call.charged:
            size, bodies = len(body), self._server.bodies
            if bodies.held + size > bodies.large and not bodies.fits(size, size):
                self._decline(call, overloaded())
                return
            bodies.held += size
            call.charged = size
        call.context = self.context_of(head.forwarded, head.timeout_s)
        if not self._server.plane.crowded or not self._must_wait(call, body):
            self._admit(call, body)

    def _must_wait(self, call: Call, body: bytes) -> bool:
        """Let a call wait unread if its queue is full; whether it does."""
        asked = peek_model(body, MESSAGE_AT)
        if asked is None:
            return False
        waiter = self._server.backlog.place(*asked, call.context.client, body)
        if waiter is None:
            return False
        call.waiter = waiter
        resume = partial(self._resume, call, body if waiter.kept else b"")
        self._server.backlog.wait(waiter, self, resume)
        return True

    def _resume(self, call: Call, body: bytes, room: bool) -> None:
        """Go on with a call that has waited for room in its queue, or refuse it."""
        waiter, call.waiter = call.waiter, None
        assert waiter is not None
        self._server.slices.spent += CALL_UNITS
        if room:
            self._admit(call, body)
        else:
            self._decline(call, self._server.backlog.refuse(waiter))

    def _admit(self, call: Call, body: bytes) -> None:
        """Read and queue a call."""
        try:
            payload = plain_message(body, self._server.max_body)
            self._server.slices.spent += len(payload) >> 12
            request = self._server.grpc_requests.read(payload)
            ticket = self._server.plane.begin(request, call.context)
        except errors.VigilError as error:
            self._decline(call, error)
        except Exception as error:  # noqa: BLE001 - the client gets a status, the operator the trace
            report(Event.INTERNAL_ERROR, "a ModelInfer call could not be begun", error=error)
            self._fail(call, INTERNAL, inference.INTERNAL)
        else:
            call.ticket = ticket
            ticket.then(partial(self._inferred, call, ticket))

    def _inferred(self, call: Call, ticket: Ticket) -> None:
        call.ticket = None
        try:
            response = self._server.plane.finish(ticket)
            message = self._server.responses.write(response, ticket.request)
        except errors.VigilError as error:
            self._decline(call, error)
        except Exception as error:  # noqa: BLE001 - as above
            inference.log_unwritten(ticket, error)
            self._fail(call, INTERNAL, inference.INTERNAL)
        else:
            if call.ident in self._streams:  # not reset in the same turn
                self._answer(call, message)

    def _answer(self, call: Call, message: bytes) -> None:
        size = len(message) + 5
        ident = call.ident.to_bytes(4, "big")
        prefix = b"\x00" + len(message).to_bytes(4, "big")
        if size <= self._room and size <= call.window and size <= self._max_frame:
            self._room -= size
            self.write(
                b"".join((
                    _OK_HEAD, ident, GRPC_START,
                    size.to_bytes(3, "big"), _OK_DATA, ident, prefix, message,
                    _OK_END, ident, _GRPC_OK,
                ))
            )  # fmt: skip
            self.forget(call)
            return
        self._server.bodies.release(call)
        self.write(b"".join((_OK_HEAD, ident, GRPC_START)))
        call.trailers = b"".join((_OK_END, ident, _GRPC_OK))
        call.waiting = deque([(memoryview(prefix + message), False)])
        self.flush(call)

    def _decline(self, call: Call, error: errors.VigilError) -> None:
        log_failure(error, path=SERVICE + "ModelInfer")
        self._fail(call, grpc_status(error), error.message)

    def _fail(self, call: Call, status: int, text: str) -> None:
        if call.ident in self._streams:
            self.fail_grpc(call.ident, status, text)
            self.forget(call)
