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
from serving.dataplane.failed_requests import log_failure
from serving.gateway.bodies import too_large
from serving.gateway.compression import pays
from serving.gateway.direct import inference
from serving.gateway.direct.asgi_call import ResponseWriter, Scope, WholeBody, make_scope
from serving.gateway.direct.chunked import ChunkedBody
from serving.gateway.direct.heads import MAX_HEAD, BadHead, Head, too_large_head
from serving.gateway.direct.long_body import LONG, LongBody
from serving.gateway.direct.pieces import Pieces
from serving.gateway.direct.shapes import HeadReader
from serving.gateway.direct.speaker import NEVER, Speaker
from serving.gateway.headers import by_name
from serving.gateway.replies import Reply, packed_reply
from serving.logs.events import Event
from serving.logs.report import report
from serving.protocol.status import error_body, http_status

if TYPE_CHECKING:
    from serving.dataplane.handler import Ticket
    from serving.gateway.direct.server import DirectServer

MOST_AHEAD: Final = 256 << 10
"""Bytes of later requests that are read while one is being answered."""

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
        self._pieces = Pieces()
        self._missing = 0
        self._chunks: ChunkedBody | None = None
        self._answering = False
        self._ticket: Ticket | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: WholeBody | None = None
        self._last = False
        self._put_off = False

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent."""
        if self._answering:
            self._buffer += data
            if len(self._buffer) > MOST_AHEAD and not self._full:
                self._full = True
                self._transport.pause_reading()
            return
        try:
            self._take(data)
        except BadHead as error:
            self._refuse(error.status, error.sentence)
        except Exception as error:  # noqa: BLE001 - the event loop would log it, and the client would wait
            report(Event.INTERNAL_ERROR, "a request could not be read", error=error)
            self._refuse(500, inference.INTERNAL)

    def resume_writing(self) -> None:
        """The client reads again: go on with what it asked meanwhile."""
        super().resume_writing()
        if self._put_off:
            self._put_off = False
            self._again()

    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""
        if self._ticket is not None:
            self._ticket.cancel()
        if self._body is not None:
            self._body.gone.set()
        if self._task is not None:
            self._task.cancel()

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
        if not self._answering and self._head is None and not self._buffer:
            self.close()

    # -- requests -----------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Read until a request is whole or the data ends."""
        head = self._head
        if head is None:
            if self._buffer:
                data = self._buffer + data
            end = data.find(b"\r\n\r\n")
            if end < 1:
                self._keep_head(data)
                return
            end += 4
            head = self._heads.read(data[:end])
            length = head.length
            if length is None:
                self._chunks = ChunkedBody(self._server.max_body)
            elif len(data) == end + length:  # nearly every request, in one piece
                self._buffer = b""
                self._begin(head, data[end:])
                return
            elif length > self._server.max_body:
                raise BadHead(413, too_large(self._server.max_body).message)
            else:
                self._missing = length
            self._head = head
            self._buffer = b""
            self.deadline = self._server.body_until
            if head.expects and len(data) == end:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # A body with raw tensors, that is: JSON is read from bytes.
            quick = head.infer if head.infer is not None and head.infer.json_length else None
            if quick is not None and self._missing >= LONG and self._missing > len(data) - end:
                done = partial(self._begin_long, head)
                room = inference.landing(self._server, quick, self._missing)
                LongBody(self, self._transport, self._missing, memoryview(data)[end:], done, room)
                return
            data = data[end:]
        self._take_body(head, data)

    def _keep_head(self, data: bytes) -> None:
        """Keep the beginning of a head; line ends before it mean nothing."""
        if data[:1] in b"\r\n":
            data = data.lstrip(b"\r\n")
            if b"\r\n\r\n" in data:
                self._buffer = b""
                self._take(data)
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

    def _take_body(self, head: Head, data: bytes) -> None:
        if self._chunks is not None:
            if self._chunks.feed(data):
                body, self._buffer = self._chunks.body, self._chunks.left
                self._chunks = None
                self._begin(head, body)
            return
        if len(data) < self._missing:
            self._pieces.add(data)
            self._missing -= len(data)
            return
        self._pieces.add(data[: self._missing])
        self._buffer = data[self._missing :]
        body = self._pieces.join()
        self._pieces = Pieces()
        self._missing = 0
        self._begin(head, body)

    def _begin_long(self, head: Head, body: memoryview) -> None:
        self._missing = 0
        self._begin(head, body)

    def _begin(self, head: Head, body: bytes | memoryview) -> None:
        """Answer a whole request."""
        self._head = head
        self._answering = True
        self.deadline = NEVER
        quick = head.infer
        if quick is None:
            self._call_app(head, bytes(body))
            return
        try:
            ticket = inference.begin(self._server, quick, body, self.client_of(head.forwarded))
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
        scope = make_scope(
            head.method,
            head.path,
            head.query,
            head.headers,
            head.version,
            (self.client_of(head.forwarded), self._port),
        )
        self._body = WholeBody(body)
        writer = ResponseWriter(self._write_app)
        self._task = asyncio.get_running_loop().create_task(self._run_app(scope, writer))

    async def _run_app(self, scope: Scope, writer: ResponseWriter) -> None:
        assert self._body is not None
        try:
            await self._server.app(scope, self._body, writer)
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

    def _respond(self, status: int, headers: bytes, body: bytes, size: int | None = None) -> None:
        """Write an answer and go on to the next request; `size` is told instead of the body's."""
        transport = self._transport
        if transport.is_closing():
            return
        head = self._head
        keep = not self._last and (head is None or head.keep_alive)
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
        if not keep:
            if self._last or self._buffer:
                self.leave()
            else:
                self.close()
        elif self._buffer:
            # In a later turn: a long row of quick requests must not become a deep stack. Until
            # then the connection counts as busy, so that nothing overtakes what has come.
            asyncio.get_running_loop().call_soon(self._again)
        else:
            self._answering = False
            self.deadline = self._server.idle_until

    def _again(self) -> None:
        """Read the next request from what came while the last one was answered."""
        if self._transport.is_closing():
            return
        if self._stalled:  # who does not read answers gets no more of them
            self._put_off = True
            return
        data, self._buffer = self._buffer, b""
        self._answering = False
        self.deadline = self._server.idle_until
        if self._full:
            self._full = False
            self._transport.resume_reading()
        self.data_received(data)
