"""HTTP/1.1 on one connection: requests one after the other, answers in their order.

Inference takes a path without tasks or coroutines; whatever else is asked goes to the ASGI app.
"""

from __future__ import annotations

import asyncio
import http
import string
from functools import partial
from typing import TYPE_CHECKING, Final

from serving import errors
from serving.dataplane.hooks.failed_requests import log_failure
from serving.gateway.body_budget import overloaded
from serving.gateway.direct import inference
from serving.gateway.direct.asgi_call import ResponseWriter, Scope, WholeBody, make_scope
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.connection import NEVER, Speaker
from serving.gateway.direct.http1.chunked import ChunkedBody
from serving.gateway.direct.http1.heads import MAX_HEAD, too_large_head
from serving.gateway.direct.http1.long_body import LONG, LongBody
from serving.gateway.direct.http1.shapes import HeadReader
from serving.gateway.direct.known_heads import BadHead, Head, InferHead
from serving.gateway.direct.time_slices import CALL_UNITS, SAMPLE, TASK_S
from serving.gateway.http.bodies import too_large
from serving.gateway.http.compression import pays
from serving.gateway.http.headers import by_name
from serving.gateway.http.replies import Reply, packed_reply
from serving.protocol.status import error_body, http_status
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

if TYPE_CHECKING:
    from serving.dataplane.handler import Ticket
    from serving.gateway.direct.backlog import Waiter
    from serving.gateway.direct.server import DirectServer

LONG_HEAD: Final = 1024
FIRST_LOOKS: Final = 2
"""Seconds, nearly, after which a client that has shut its side must show that it is there."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES: Final = {s.value: s.phrase.encode() for s in http.HTTPStatus}
_JSON: Final = [(b"content-type", b"application/json")]
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~" + (string.ascii_letters + string.digits).encode())
_CLOSE: Final = b"connection: close\r\n"
# A client of HTTP/1.0 that is not told so waits for the connection's end.
_KEEP: Final = b"connection: keep-alive\r\n"


class Http1(Speaker):
    """A connection that speaks HTTP/1.1."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self._buffer = b""
        self._heads = HeadReader(server.shapes)
        self._head: Head | None = None
        self._pieces = BodyBuffer()
        self._missing = 0
        self._chunks: ChunkedBody | None = None
        self._answering = False
        self._ticket: Ticket | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: WholeBody | None = None
        self._waiter: Waiter | None = None
        self._due: tuple[Head, bytes | memoryview] | None = None
        """A whole request that has only to wait for its turn."""
        self._last = False
        self._looks = 0
        self.charged = 0
        """Bytes of the body that came last, of those that all bodies together may have."""

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent, or keep it: for its turn, or until an answer is written."""
        slices = self._server.slices
        if self._answering or self._later or self.greedy or slices.closed:
            if self._missing > len(data) and not self._answering and not self._later:
                self._pieces.add(data)  # which costs no more than to keep it
                self._missing -= len(data)
                return
            self._keep(data)
            if not self._answering:
                slices.queue(self)
            return
        self._read(data, 0)
        if self._later and not self._answering:
            slices.queue(self)

    def work(self) -> bool:
        """Go on with what was kept."""
        slices = self._server.slices
        due, self._due = self._due, None
        if due is not None:
            self._begin(*due)
        while self._later and not self._answering and not self._stalled:
            self._read(*self._next_data())
            if self._later and slices.spent >= SAMPLE and slices.over():
                return self._answering
        ended = self not in self._server.connections
        if not self._answering and not self._later and not ended:
            self._read_on()
            if self._half_closed:
                self.close()
        return True

    def eof_received(self) -> bool:
        """The client sends nothing more; what it has asked for is answered before the end."""
        self._half_closed = self._answering or bool(self._later)
        return self._half_closed and not self._hung_up()

    def sweep(self, now: float) -> None:
        """Once a second: look whether the client is too slow, or has gone."""
        super().sweep(now)
        if self._half_closed and self._answering:
            self._look_for_client()

    def _look_for_client(self) -> None:
        """Find out whether a client that sends nothing more still waits for its answer.

        One that has gone looks the same over TCP, until it is sent something, which it answers with
        a reset. Every client of HTTP/1.1 can read an interim answer (RFC 9110, section 15.2).
        """
        self._looks += 1
        if self._hung_up():
            self.abort()
        elif self._looks == FIRST_LOOKS and self._head is not None and self._head.version == "1.1":
            self._transport.write(CONTINUE)

    def _read(self, data: bytes, at: int) -> None:
        """Take in one request at most, from `at` on, while the slice lasts; keep the rest."""
        try:
            self._take(data, at)
        except BadHead as error:
            self._refuse(error.status, error.sentence)
        except Exception as error:  # noqa: BLE001 - the event loop would log it, and the client would wait
            report(Event.INTERNAL_ERROR, "a request could not be read", error=error)
            self._refuse(500, inference.INTERNAL)

    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""
        ticket, self._ticket = self._ticket, None
        body, self._body = self._body, None
        waiter, self._waiter = self._waiter, None
        # A cancelled task keeps its error, whose frames hold this connection and the body.
        task, self._task = self._task, None
        self._head = self._chunks = self._due = None
        self._pieces = BodyBuffer()
        self._server.bodies.release(self)
        if ticket is not None:
            ticket.cancel()
        if body is not None:
            body.gone.set()
        if waiter is not None:
            waiter.cancel()
        if task is not None:
            task.cancel()

    def too_slow(self) -> None:
        """The deadline has passed: say so where a request has begun, and close."""
        if self._head is None and not self._buffer:
            self.close()
        else:
            self._refuse(408, "the request came too slowly; send headers and body without pauses")

    def stop(self) -> None:
        """Let the next answer be the last."""
        self._last = True

    def stopped(self) -> None:
        """Close, unless a request has begun."""
        self._last = True
        begun = self._answering or self._head is not None or self._buffer or self._later
        if not begun:
            self.close()

    # -- requests -----------------------------------------------------------------------

    def _take(self, data: bytes, at: int) -> None:
        """Read until a request is whole or the data ends."""
        head = self._head
        if head is None:
            if self._buffer:
                data, at = self._buffer + data[at:], 0
            end = data.find(b"\r\n\r\n", at)
            if end < at + 1:
                self._keep_head(data[at:])
                return
            end += 4
            head = self._heads.read(data[at:end])
            if end - at > LONG_HEAD:
                self._server.slices.spent += (end - at) >> 8
            self._buffer = b""
            length = head.length
            if length is None:
                self._chunks = ChunkedBody(self._server.max_body, self._server.slices)
            elif len(data) == end + length:  # nearly every request, in one piece
                self._begin(head, data[end:])
                return
            elif length > self._server.max_body:
                raise BadHead(413, too_large(self._server.max_body).message)
            else:
                self._missing = length
            self._head = head
            self.deadline = self._server.body_until
            if length and not self._server.bodies.cover(self, length):
                self._no_room()
                return
            if head.expects and len(data) == end:
                self._transport.write(CONTINUE)
            # A body with raw tensors, that is: JSON is read from bytes.
            quick = head.infer if head.infer is not None and head.infer.json_length else None
            if quick is not None and self._missing >= LONG and self._missing > len(data) - end:
                done = partial(self._begin_long, head)
                room = inference.landing(self._server, quick, self._missing)
                LongBody(self, self._transport, self._missing, memoryview(data)[end:], done, room)
                return
            at = end
        self._take_body(head, data, at)

    def _keep_head(self, data: bytes) -> None:
        """Keep the beginning of a head; line ends before it mean nothing."""
        self._server.slices.spent += 1
        if data[:1] in b"\r\n":
            data = data.lstrip(b"\r\n")
            if b"\r\n\r\n" in data:
                self._buffer = b""
                self._take(data, 0)
                return
        if len(data) > MAX_HEAD:
            raise too_large_head()
        if data and data[0] not in _TOKEN:  # TLS, for example: nobody shall wait for its timeout
            raise BadHead(400, "the connection begins with no HTTP; send plain HTTP")
        if b"\n\n" in data or b"\n\r\n" in data:
            raise BadHead(400, "the request is malformed; end lines with CR and LF")
        if data and not self._buffer:
            self.deadline = self._server.head_until
        self._buffer = data

    def _take_body(self, head: Head, data: bytes, at: int) -> None:
        if self._chunks is not None:
            whole = self._chunks.feed(data[at:] if at else data)
            if not self._server.bodies.cover(self, self._chunks.size):
                self._no_room()
                return
            if self._chunks.left:
                self._keep(self._chunks.left)
            if whole:
                body, self._chunks = self._chunks.body, None
                self._begin(head, body)
            return
        end = at + self._missing
        if len(data) < end:
            self._pieces.add(data[at:] if at else data)
            self._missing -= len(data) - at
            return
        self._pieces.add(data[at:end])
        if end < len(data):
            self._keep(data, end)
        body = self._pieces.join()
        self._pieces = BodyBuffer()
        self._missing = 0
        self._begin(head, body)

    def _begin_long(self, head: Head, body: memoryview) -> None:
        self._missing = 0
        slices = self._server.slices
        if slices.closed:
            self._head, self._answering, self.deadline = head, True, NEVER
            self._due = (head, body)
            slices.queue(self)
        else:
            self._begin(head, body)

    def _begin(self, head: Head, body: bytes | memoryview) -> None:
        """Answer a whole request."""
        self._head = head
        self._answering = True
        self.deadline = NEVER
        slices = self._server.slices
        slices.spent += CALL_UNITS + (len(body) >> 12)
        quick = head.infer
        if body and not self.charged:
            size, bodies = len(body), self._server.bodies
            if bodies.held + size > bodies.large and not bodies.fits(size, size):
                self._fail(overloaded())
                return
            bodies.held += size
            self.charged = size
        if quick is None:
            self._call_app(head, bytes(body))
        elif not self._server.plane.crowded or not self._must_wait(head, quick, body):
            self._admit(head, quick, body)
        if slices.spent >= SAMPLE:
            slices.over()

    def _must_wait(self, head: Head, quick: InferHead, body: bytes | memoryview) -> bool:
        """Let a request wait unread if its queue is full; whether it does."""
        client = self.client_of(head.forwarded)
        waiter = self._server.backlog.place(quick.model, quick.version, client, body)
        if waiter is None:
            return False
        self._waiter = waiter
        resume = partial(self._resume, head, body if waiter.kept else b"")
        self._server.backlog.wait(waiter, self, resume)
        return True

    def _resume(self, head: Head, body: bytes | memoryview, room: bool) -> None:
        """Go on with a request that has waited for room in its queue, or refuse it."""
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        assert head.infer is not None
        self._server.slices.spent += CALL_UNITS + (len(body) >> 12)
        if room:
            self._admit(head, head.infer, body)
        else:
            self._fail(self._server.backlog.refuse(waiter))

    def _admit(self, head: Head, quick: InferHead, body: bytes | memoryview) -> None:
        """Read and queue an inference."""
        try:
            ticket = inference.begin(self._server, quick, body, self.context_of(head.forwarded))
        except errors.VigilError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the operator the trace
            said = "a request could not be begun"
            report(Event.INTERNAL_ERROR, said, path=head.path, error=error)
            self._respond(500, inference.JSON, error_body(inference.INTERNAL))
        else:
            self._ticket = ticket
            ticket.then(self._inferred)

    def _inferred(self) -> None:
        ticket, self._ticket = self._ticket, None
        assert ticket is not None
        try:
            headers, body, binary = inference.answer(self._server, ticket)
        except errors.VigilError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - as above
            inference.log_unwritten(ticket, error)
            self._respond(500, inference.JSON, error_body(inference.INTERNAL))
        else:
            head = self._head
            if head and head.infer and head.infer.packs and pays(len(body), binary):
                task = self._pack(head, headers, body)
                self._task = asyncio.get_running_loop().create_task(task)
            else:
                self._respond(200, headers, body)

    async def _pack(self, head: Head, headers: bytes, body: bytes) -> None:
        """Answer a client that likes compressed answers better."""
        accepted = by_name(head.headers)[b"accept-encoding"]
        reply = await packed_reply(Reply(200, [], body, packs=True), accepted)
        self._task = None
        self._write_app(200, reply.headers, reply.body, headers)

    # -- everything else ----------------------------------------------------------------

    def _call_app(self, head: Head, body: bytes) -> None:
        self._server.slices.charge(TASK_S)
        scope = make_scope(
            head.method,
            head.path,
            head.query,
            head.headers,
            head.version,
            (self.client_of(head.forwarded), self._port),
        )
        self._body = WholeBody(body)
        run = self._run_app(scope, self._body, ResponseWriter(self._write_app))
        self._task = asyncio.get_running_loop().create_task(run)

    async def _run_app(self, scope: Scope, body: WholeBody, writer: ResponseWriter) -> None:
        try:
            await self._server.app(scope, body, writer)
        except Exception as error:  # noqa: BLE001 - the app answers its own errors; this is the last resort
            said = "a request could not be answered"
            report(Event.INTERNAL_ERROR, said, path=scope["path"], error=error)
        if not writer.done:
            self._write_app(500, _JSON, error_body(inference.INTERNAL))

    def _write_app(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, first: bytes = b""
    ) -> None:
        # Before the answer, after which they may be those of the next request.
        self._task = self._body = None
        kept = [b"%b: %b\r\n" % (k, v) for k, v in headers if k != b"content-length"]
        lines = b"".join(kept)
        if lines.count(b"\n") > len(kept) or lines.count(b"\r") > len(kept):
            report(Event.INTERNAL_ERROR, "an answer was dropped: its headers hold line ends")
            status, lines, body = 500, inference.JSON, error_body(inference.INTERNAL)
        size = None
        if not body and self._head is not None and self._head.method == "HEAD":
            # The app leaves the body out by itself; what it would have been is in its headers.
            size = next((int(v) for k, v in headers if k == b"content-length"), None)
        self._respond(status, first + lines, body, size)

    # -- answers ------------------------------------------------------------------------

    def _fail(self, error: errors.VigilError) -> None:
        log_failure(error, path=self._head.path if self._head else "")
        headers = inference.JSON
        if error.retry_after_s is not None:
            headers += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
        self._respond(http_status(error), headers, error_body(error.message))

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer what cannot be read any further, and close."""
        self._last = True
        self._respond(status, inference.JSON, error_body(sentence))

    def _no_room(self) -> None:
        """Refuse a body whose rest is not read, because all bodies together are too long."""
        self._last = True
        self._chunks = None
        self._fail(overloaded())

    def _respond(self, status: int, headers: bytes, body: bytes, size: int | None = None) -> None:
        """Write an answer and go on to the next request; `size` is told instead of the body's."""
        transport = self._transport
        if self.charged:
            self._server.bodies.held -= self.charged
            self.charged = 0
        if transport.is_closing():
            return
        head = self._head
        keep = not self._last and (head is None or head.keep_alive)
        if self._half_closed and not self._later:
            keep = False
        start = b"HTTP/1.1 %d %b\r\n%b%b%bcontent-length: %d\r\n\r\n" % (
            status,
            _PHRASES.get(status, b""),
            self._server.date,
            headers,
            _CLOSE if not keep else b"" if head is None or head.version == "1.1" else _KEEP,
            len(body) if size is None else size,
        )
        if head is not None and head.method == "HEAD":
            body = b""
        if len(body) > 65536:
            transport.writelines([start, body])
        else:
            transport.write(start + body)
        self._head = None
        self._answering = False
        if not keep:
            if self._last or self._buffer or self._later:
                self.leave()
            else:
                self.close()
            return
        self.deadline = self._server.idle_until
        if self._later:  # worked on in a later turn: quick requests must not become a deep stack
            self._server.slices.queue(self)
