"""What the HEADERS and DATA frames of an HTTP/2 client ask for: requests and their bodies.

A plain ModelInfer call goes the quick path: two frames in, three frames out in one write, and
no task. Every other stream is handed to the ASGI app.
"""

from __future__ import annotations

from typing import Final

from serving import errors
from serving.gateway.body_budget import overloaded
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.headers import MalformedHead
from serving.gateway.direct.http2.intake import STREAM_WINDOW, Intake
from serving.gateway.direct.http2.open_streams import OpenStreams
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.http2.shapes import HeadReader2, Shapes2
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.direct.http2.unary import UnaryCalls
from serving.gateway.direct.known_heads import Head2
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState
from serving.gateway.direct.time_slices import CALL_UNITS, TASK_S
from serving.gateway.grpc.asgi import known_path
from serving.gateway.grpc.paths import LONG_LIVED
from serving.gateway.http.bodies import too_large
from serving.gateway.http.replies import Reply, error_reply, sentence_reply
from serving.gateway.http.routes import target_of
from serving.gateway.internal_errors import client_error
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError
from serving.protocol.status import grpc_status

MOST_STREAMS: Final = 1024


class Requests:
    """Takes in the requests of one connection.

    Args:
        state: what all connections share.
        peer: who is at the connection's other end.
        streams: its open streams.
        sender: writes answers.
        intake: bounds what the client sends.
        calls: answers plain ModelInfer calls.
        shapes: heads that all connections have seen lately.

    Attributes:
        most: streams that may be open at a time.
    """

    def __init__(
        self,
        state: ServerState,
        peer: Peer,
        streams: OpenStreams,
        sender: Sender,
        intake: Intake,
        calls: UnaryCalls,
        shapes: Shapes2,
    ) -> None:
        self._state = state
        self._peer = peer
        self._streams = streams
        self._sender = sender
        self._intake = intake
        self._calls = calls
        self._heads = HeadReader2(shapes)
        self.most = MOST_STREAMS

    def begin(self, flags: int, ident: int, block: bytes) -> None:
        """Take the headers of a new stream, or the trailers of one that is open.

        Raises:
            ProtocolError: they cannot be decoded, or break the protocol in a way that ends the
                connection.
        """
        # Fields that are new to the connection take about 50 us each.
        self._state.slices.spent += CALL_UNITS + (len(block) >> 6)
        try:
            if ident <= self._streams.last:
                self._trailers(flags, ident, block)
                return
            if ident > self._streams.last + 2:
                self._streams.closed.opened(ident, self._streams.last)
            self._streams.last = ident
            head = self._heads.read(block)
        except MalformedHead:
            self._turn_away(ident, flags, f.PROTOCOL_ERROR)
            return
        if len(self._streams.by_number) >= self.most:
            self._turn_away(ident, flags, f.REFUSED_STREAM)
            return
        if head.problem is not None:
            if not flags & f.END_STREAM:
                self._streams.closed.unfinished(ident)
            self._refuse(ident, head)
        elif head.length > 0 and not flags & f.END_STREAM and not self._admits(ident, head):
            pass  # it said itself how long its body is, so nobody waits for the data
        elif head.infer:
            context = self._peer.context(
                head.forwarded, head.timeout_s, head.trace, head.credential, grpc=head.grpc
            )
            until = self._state.clock.body_until
            call = Call(ident, head, context, self._sender.initial, until)
            self._streams.by_number[ident] = call
            if head.length > 0:
                self._state.bodies.cover(call, head.length)
            if flags & f.END_STREAM:
                self._calls.complete(call, b"")
        else:
            self._call_app(flags, ident, head)

    def _call_app(self, flags: int, ident: int, head: Head2) -> None:
        state = self._state
        stream = AppStream(
            state.app,
            self._streams,
            ident,
            head,
            self._sender.initial,
            state.clock.body_until,
            (self._peer.asking(head.forwarded), 0),
        )
        self._streams.by_number[ident] = stream
        state.slices.charge(TASK_S)
        if head.length > 0 and not stream.endless:
            state.bodies.cover(stream, head.length)
        if flags & f.END_STREAM:
            self._ended(stream, b"")

    def _turn_away(self, ident: int, flags: int, code: int) -> None:
        """Reset a stream, open or not, because of headers of its client."""
        if ident not in self._streams.by_number and not flags & f.END_STREAM:
            self._streams.closed.unfinished(ident)
        self._intake.strike()
        self._streams.reset_number(ident, code)

    def _admits(self, ident: int, head: Head2) -> bool:
        """Whether the body that a head announces may come; if not, it is answered here."""
        state, length = self._state, head.length
        if head.path in LONG_LIVED:  # a stream has no length that counts
            return True
        error: errors.VigilError
        if length > state.max_body + (5 if head.grpc else 0):
            # It costs its client a few bytes: let none ask for thousands.
            self._intake.strike()
            error = too_large(state.max_body)
        elif not state.bodies.fits(length, length):
            error = overloaded()
        else:
            return True
        self._answer_error(ident, self._sender.initial, head, error)
        self._streams.closed.unfinished(ident)
        self._sender.write(f.reset(ident, f.NO_ERROR))
        return False

    def _trailers(self, flags: int, ident: int, block: bytes) -> None:
        stream = self._streams.by_number.get(ident)
        if stream is None:
            self._late(flags, ident, opens=True)
        self._heads.skip(block)
        if stream is None:
            return
        if stream.complete:
            self._intake.strike()
            self._streams.reset(stream, f.STREAM_CLOSED)
        elif not flags & f.END_STREAM:  # a malformed request (section 8.1)
            self._intake.strike()
            self._streams.reset(stream, f.PROTOCOL_ERROR)
        else:
            self._ended(stream, b"")

    def _late(self, flags: int, ident: int, *, opens: bool) -> None:
        """Take a frame for a stream that is not open any more."""
        self._streams.closed.require_late(ident, opens)
        self._intake.nothing()
        if flags & f.END_STREAM:
            self._streams.closed.ended(ident)

    def data(self, flags: int, ident: int, payload: bytes) -> None:
        """Take a DATA frame.

        Raises:
            ProtocolError: it breaks the protocol in a way that ends the connection.
        """
        size = len(payload)
        stream = self._streams.by_number.get(ident)
        self._intake.window -= size
        if self._intake.window < 0:
            raise ProtocolError(f.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if stream is None or stream.complete:
            self._late_data(stream, flags, ident, size)
            return
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if flags & f.END_STREAM and type(stream) is Call and stream.body is None:
            # Nearly every call: its one frame, which nobody has to keep.
            self._intake.acknowledge(size)
            self._calls.complete(stream, payload)
        else:
            self._piece(stream, flags, size, payload)

    def _piece(self, stream: Call | AppStream, flags: int, size: int, payload: bytes) -> None:
        """Take a piece of a body that comes in several; `size` has its padding in it."""
        content, end = len(payload), bool(flags & f.END_STREAM)
        if not content and not end:
            self._intake.nothing()
        stream.received += content
        stream.unacknowledged += size
        self._intake.held += content
        if stream.unacknowledged > STREAM_WINDOW:
            raise ProtocolError(f.FLOW_CONTROL_ERROR, "more data than the window allows")
        self._intake.acknowledge(size if type(stream) is Call else size - content)
        if stream.received > self._state.max_body + 5 and not stream.endless:
            if not isinstance(stream, Call):
                self._intake.acknowledge(content)
            self._end_early(stream, too_large(self._state.max_body))
        elif stream.refused or not self._intake.cover(stream, payload):
            self._no_room(stream, content, end=end)
        elif end:
            self._ended(stream, payload)
        elif isinstance(stream, Call):
            stream.body = stream.body or BodyBuffer()
            if content:
                stream.body.add(payload)
            self._intake.grant(stream)
        else:
            stream.feed(payload, end=False)
        if self._intake.held > self._intake.most_held:
            self._streams.shed()

    def _late_data(
        self, stream: Call | AppStream | None, flags: int, ident: int, size: int
    ) -> None:
        if self._streams.is_idle(ident):
            raise ProtocolError(f.PROTOCOL_ERROR, "data for a stream that was never opened")
        self._intake.acknowledge(size)
        if stream is None:
            self._late(flags, ident, opens=False)
        else:
            self._intake.strike()
            self._streams.reset(stream, f.STREAM_CLOSED)

    # -- the ends of streams ------------------------------------------------------------

    def _ended(self, stream: Call | AppStream, payload: bytes) -> None:
        if isinstance(stream, Call):
            if stream.body is not None:
                stream.body.add(payload)
                payload, stream.body = stream.body.join(), None
            self._intake.held -= stream.received
            stream.received = 0
            self._calls.complete(stream, payload)
            return
        stream.feed(payload, end=True)
        if stream.head.length not in (-1, stream.total):
            self._intake.strike()
            self._streams.reset(stream, f.PROTOCOL_ERROR)

    def _no_room(self, stream: Call | AppStream, content: int, *, end: bool) -> None:
        """Refuse a body, or the rest of a stream, because all bodies together are too long."""
        if not isinstance(stream, Call):
            self._intake.acknowledge(content)
            if stream.endless:  # what came before is answered first
                self._intake.held -= content
                stream.received -= content
                stream.refuse(end=end)
                return
        self._end_early(stream, overloaded())

    def _end_early(self, stream: Call | AppStream, error: errors.VigilError) -> None:
        """Refuse a body without reading the rest of it."""
        if stream.begun:
            self._streams.reset(stream, f.CANCEL)
            return
        self._answer_error(stream.ident, stream.window, stream.head, error)
        self._streams.reset(stream, f.NO_ERROR)

    def _answer_error(self, ident: int, window: int, head: Head2, error: errors.VigilError) -> None:
        said = "a request could not be answered"
        told = client_error(error, said, path=head.path, traceparent=head.trace)
        # Neither was begun, so it took no time.
        if head.grpc:
            self._sender.fail_grpc(ident, told)
            path = known_path(head.path)
            self._state.durations.call(path, grpc_status(told), 0.0)
        else:
            self._refuse_http(ident, window, head, error_reply(told))

    def _refuse(self, ident: int, head: Head2) -> None:
        assert head.problem is not None
        if head.grpc:
            kind = errors.Forbidden if head.problem.status == 403 else errors.InvalidInput
            self._answer_error(ident, 0, head, kind(head.problem.sentence))
        else:
            reply = sentence_reply(head.problem.status, head.problem.sentence)
            self._refuse_http(ident, self._sender.initial, head, reply)

    def _refuse_http(self, ident: int, window: int, head: Head2, reply: Reply) -> None:
        self._sender.fail_http(ident, window, reply)
        route = target_of(head.method, head.path).told
        self._state.durations.request(head.method, route, reply.status, 0.0)
