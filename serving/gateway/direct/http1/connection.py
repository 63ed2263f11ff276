"""HTTP/1.1 on one connection: requests one after the other, answers in their order."""

from __future__ import annotations

import asyncio
import http
from functools import partial
from typing import Final

from serving.gateway.body_budget import overloaded
from serving.gateway.direct import inference
from serving.gateway.direct.connection import NEVER, Connection
from serving.gateway.direct.http1.body_reader import BodyReader
from serving.gateway.direct.http1.exchange import Exchange, header_lines
from serving.gateway.direct.http1.head_reader import HeadReader
from serving.gateway.direct.http1.long_body import LONG, LongBody
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.known_heads import BadHead, Head
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState
from serving.gateway.direct.time_slices import CALL_UNITS, SAMPLE
from serving.gateway.http.replies import sentence_reply
from serving.gateway.internal_errors import client_error

LONG_HEAD: Final = 1024
FIRST_LOOKS: Final = 2
"""Seconds, nearly, after which a client that has shut its side must show that it is there."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES: Final = {s.value: s.phrase.encode() for s in http.HTTPStatus}
_CLOSE: Final = b"connection: close\r\n"
# A client of HTTP/1.0 that is not told so waits for the connection's end.
_KEEP: Final = b"connection: keep-alive\r\n"


class Http1(Connection):
    """A connection that speaks HTTP/1.1.

    Args:
        state: what all connections share.
        transport: the connection's.
        peer: who is at its other end.
        shapes: heads that all connections have seen lately.
    """

    def __init__(
        self, state: ServerState, transport: asyncio.Transport, peer: Peer, shapes: Shapes
    ) -> None:
        super().__init__(state, transport, peer)
        self._heads = HeadReader(shapes)
        self._body = BodyReader(state.max_body, state.slices)
        self._exchange = Exchange(state, transport, peer, self._respond)
        self._head: Head | None = None
        """That of the request which has begun and has no answer yet."""
        self._answering = False
        """Whether that request is whole."""
        self._due: bytes | memoryview | None = None
        """The body of a whole request that has only to wait for its turn."""
        self._last = False
        self._looks = 0

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent, or keep it: for its turn, or until an answer is written."""
        slices = self._state.slices
        if self._answering or self._later or self.greedy or slices.closed:
            body = self._body
            if body.missing and not self._answering and not self._later and body.add(data):
                return  # which costs no more than to keep it
            self._keep(data)
            if not self._answering:
                slices.queue(self)
            return
        self._read(data, 0)
        if self._later and not self._answering:
            slices.queue(self)

    def work(self) -> bool:
        """Go on with what was kept."""
        slices = self._state.slices
        due, self._due = self._due, None
        if due is not None and self._head is not None:
            self._begin(self._head, due)
        while self._later and not self._answering and not self._stalled:
            self._read(*self._next_data())
            if self._later and slices.spent >= SAMPLE and slices.over():
                return self._answering
        ended = self not in self._state.connections.open
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

    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""
        self._head = self._due = None
        self._body.drop()
        self._exchange.lost()

    def too_slow(self) -> None:
        """The deadline has passed: say so where a request has begun, and close."""
        if self._head is None and not self._heads.begun:
            self.close()
        else:
            self._refuse(408, "the request came too slowly; send headers and body without pauses")

    def stop(self) -> None:
        """Let the next answer be the last."""
        self._last = True

    def stopped(self) -> None:
        """Close, unless a request has begun."""
        self._last = True
        begun = self._answering or self._head is not None or self._heads.begun or self._later
        if not begun:
            self.close()

    # -- requests -----------------------------------------------------------------------

    def _read(self, data: bytes, at: int) -> None:
        """Take in one request at most, from `at` on, while the slice lasts; keep the rest."""
        try:
            head = self._head
            if head is None:
                heads = self._heads
                begun = heads.begun
                if begun:
                    data, at = begun + data[at:], 0
                head = heads.take(data, at)
                if head is None:
                    self._state.slices.spent += 1
                    if heads.begun and not begun:
                        self.deadline = self._state.clock.head_until
                    return
                end = heads.end
                if end - at > LONG_HEAD:
                    self._state.slices.spent += (end - at) >> 8
                length = head.length
                if length is not None and len(data) == end + length:  # nearly every request
                    self._begin(head, data[end:])
                    return
                if not self._expect(head, data, end):
                    return
                at = end
            self._take_body(head, data, at)
        except BadHead as error:
            self._refuse(error.status, error.sentence)
        except Exception as error:  # noqa: BLE001 - the event loop would log it, and the client would wait
            self._refuse(500, client_error(error, "a request could not be read").message)

    def _expect(self, head: Head, data: bytes, end: int) -> bool:
        """Prepare for a body of which more comes than is in `data`; False: it goes another way."""
        state, reader, length = self._state, self._body, head.length
        reader.expect(length)
        self._head = head
        self.deadline = state.clock.body_until
        if length and not state.bodies.cover(self._exchange, length):
            self._no_room(head)
            return False
        if head.expects and len(data) == end:
            self._transport.write(CONTINUE)
        # A body with raw tensors, that is: JSON is read from bytes.
        quick = head.infer if head.infer is not None and head.infer.json_length else None
        if quick is None or reader.missing < LONG or reader.missing <= len(data) - end:
            return True
        done = partial(self._begin_long, head)
        room = inference.receive_buffer(state, quick, reader.missing)
        LongBody(self, self._transport, reader.missing, memoryview(data)[end:], done, room)
        return False

    def _take_body(self, head: Head, data: bytes, at: int) -> None:
        reader = self._body
        body = reader.take(data, at)
        if reader.size and not self._state.bodies.cover(self._exchange, reader.size):
            self._no_room(head)
            return
        if reader.left:
            self._keep(reader.left)
        elif body is not None and reader.end < len(data):
            self._keep(data, reader.end)
        if body is not None:
            self._begin(head, body)

    def _begin_long(self, head: Head, body: memoryview) -> None:
        self._body.missing = 0
        slices = self._state.slices
        if slices.closed:
            self._head, self._answering, self.deadline = head, True, NEVER
            self._due = body
            slices.queue(self)
        else:
            self._begin(head, body)

    def _begin(self, head: Head, body: bytes | memoryview) -> None:
        """Have a whole request answered."""
        self._head = head
        self._answering = True
        self.deadline = NEVER
        slices = self._state.slices
        slices.spent += CALL_UNITS + (len(body) >> 12)
        self._exchange.begin(head, body)
        if slices.spent >= SAMPLE:
            slices.over()

    # -- answers ------------------------------------------------------------------------

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer what cannot be read any further, and close."""
        self._last = True
        self._exchange.refused(status, self._head)
        reply = sentence_reply(status, sentence)
        self._respond(status, header_lines(reply.headers), reply.body, None)

    def _no_room(self, head: Head) -> None:
        """Refuse a body whose rest is not read, because all bodies together are too long."""
        self._last = True
        self._body.drop()
        self._exchange.fail(overloaded(), head)

    def _respond(self, status: int, headers: bytes, body: bytes, size: int | None) -> None:
        """Write an answer and go on to the next request; `size` is told instead of the body's."""
        transport, state, exchange = self._transport, self._state, self._exchange
        if exchange.charged:
            state.bodies.held -= exchange.charged
            exchange.charged = 0
        if transport.is_closing():
            return
        head = self._head
        steady = None if head is None else head.steady  # its properties would each be a call
        keep = not self._last and (head is None or head.keep_alive)
        if self._half_closed and not self._later:
            keep = False
        start = b"HTTP/1.1 %d %b\r\n%b%b%bcontent-length: %d\r\n\r\n" % (
            status,
            _PHRASES.get(status, b""),
            state.clock.date,
            headers,
            _CLOSE if not keep else b"" if steady is None or steady.version == "1.1" else _KEEP,
            len(body) if size is None else size,
        )
        if steady is not None and steady.method == "HEAD":
            body = b""
        if len(body) > 65536:
            transport.writelines([start, body])
        else:
            transport.write(start + body)
        self._head = None
        self._answering = False
        if not keep:
            if self._last or self._heads.begun or self._later:
                self.leave()
            else:
                self.close()
            return
        self.deadline = state.clock.idle_until
        if self._later:  # worked on in a later turn: quick requests must not become a deep stack
            state.slices.queue(self)
