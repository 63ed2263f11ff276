"""HTTP/2 on one connection (RFC 9113), for gRPC above all: what comes in, frame by frame.

A plain ModelInfer call goes the quick path: two frames in, three frames out in one write, and
no task. Every other stream is handed to the ASGI app.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from serving import errors
from serving.dataplane.hooks.failed_requests import log_failure
from serving.gateway.body_budget import overloaded
from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http1.heads import MAX_HEAD
from serving.gateway.direct.http2.control import Control
from serving.gateway.direct.http2.headers import MalformedHead
from serving.gateway.direct.http2.intake import CONNECTION_WINDOW, STREAM_WINDOW
from serving.gateway.direct.http2.send import Call
from serving.gateway.direct.http2.shapes import HeadReader2
from serving.gateway.direct.http2.streams import AppStream
from serving.gateway.direct.known_heads import Head2
from serving.gateway.direct.time_slices import CALL_UNITS, SAMPLE, TASK_S
from serving.gateway.grpc.paths import LONG_LIVED
from serving.gateway.http.bodies import too_large
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError
from serving.protocol.status import grpc_status, http_status
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer

MOST_STREAMS: Final = 1024
MAX_FRAME: Final = 256 << 10
MOST_HEADER_FRAMES: Final = 16

_SETTINGS: Final = f.settings(
    {
        f.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        f.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        f.MAX_FRAME_SIZE: MAX_FRAME,
        f.MAX_HEADER_LIST_SIZE: 60 << 10,
    }
) + f.window_update(0, CONNECTION_WINDOW - f.FIRST_WINDOW)


class Http2(Control):
    """A connection that speaks HTTP/2."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self.app = server.app
        self._heads = HeadReader2(server.shapes2)
        self._parts: list[bytes] = []
        """The beginning of a frame that is not whole yet."""
        self._have = self._need = 0
        self._skip = len(f.PREFACE)
        self._refused_from = f.LARGEST_WINDOW
        self._most = MOST_STREAMS
        self._block: list[bytes] = []
        self._block_stream = 0
        self._block_flags = 0
        self._configured = False
        transport.write(_SETTINGS)

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in frames, or keep them for a later turn."""
        if self._closing:
            return
        slices = self._server.slices
        if self._later or self.greedy or slices.closed:
            self._keep(data)
            slices.queue(self)
        else:
            self._read(data, 0)
            if self._later:
                slices.queue(self)

    def work(self) -> bool:
        """Go on with frames that were kept."""
        while self._later and not self._stalled:
            self._read(*self._next_data())
            if self._later:
                return False
        if self._closing or self._stalled:
            return True  # what is left is worked on once the client reads
        self._read_on()
        if self._half_closed:
            self.close()
        return True

    def eof_received(self) -> bool:
        """The client sends nothing more; what it has sent is worked on before the end."""
        self._half_closed = bool(self._later)
        return self._half_closed

    def _read(self, data: bytes, at: int) -> None:
        """Work on frames from `at` on while the slice lasts; keep the rest."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts = []
        need = 9
        size = len(data)
        if self._skip:
            at, self._skip = self._skip, 0
        slices = self._server.slices
        try:
            while size - at >= 9:
                high, low, kind, flags, ident = f.read_head(data, at)
                length = high << 8 | low
                if length > MAX_FRAME:
                    raise ProtocolError(f.FRAME_SIZE_ERROR, "a frame is over the announced limit")
                end = at + 9 + length
                if end > size:
                    need = 9 + length
                    break
                self._take(kind, flags, ident & 0x7FFFFFFF, data[at + 9 : end])
                at = end
                slices.spent += 1
                if slices.spent >= SAMPLE and slices.over():
                    if at < size and not self._closing:
                        self._keep(data, at)
                    return
        except ProtocolError as error:
            self._goodbye(error.code, error.why)
            return
        except Exception as error:  # noqa: BLE001 - the event loop would log it, and the client would wait
            report(Event.INTERNAL_ERROR, "a frame could not be handled", error=error)
            self._goodbye(f.INTERNAL_ERROR, "internal error")
            return
        if at < size:
            self._parts, self._have, self._need = [data[at:]], size - at, need
        if not self._streams and not self._block_stream:  # else it has a deadline, or they have
            self.deadline = self._server.idle_until if at == size else self._server.head_until

    def lost(self) -> None:
        """The connection is gone, and with it whoever waits for an answer."""
        self._closing = True
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self._server.bodies.release(stream)
            stream.lost()

    def too_slow(self) -> None:
        """Nothing has happened for long enough, or headers do not end."""
        self._goodbye(f.NO_ERROR, "nothing whole has come for too long")

    def stop(self) -> None:
        """Ask the client to open its next streams elsewhere; end when all is answered."""
        if not self._closing and self._refused_from == f.LARGEST_WINDOW:
            self.write(f.goaway(f.LARGEST_WINDOW, f.NO_ERROR))

    def stopped(self) -> None:
        """No stream is taken any more."""
        if not self._closing and self._refused_from == f.LARGEST_WINDOW:
            self._refused_from = self._last
            self._most = 0
            self.write(f.goaway(self._last, f.NO_ERROR))
            self._look_done()

    def sweep(self, now: float) -> None:
        """Once a second: forgive what a client did, and reset streams that are too slow."""
        super().sweep(now)
        self._forgive()
        for stream in list(self._streams.values()):
            if (stream.deadline < now and not stream.complete) or stream.stuck < now:
                self.reset(stream, f.CANCEL)

    def _prolong(self, seconds: float) -> None:
        """Allow the client more time, for each of its streams as well."""
        super()._prolong(seconds)
        for stream in self._streams.values():
            stream.deadline += seconds

    # -- frames -------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, ident: int, payload: bytes) -> None:
        if self._block_stream and (kind != f.CONTINUATION or ident != self._block_stream):
            raise ProtocolError(f.PROTOCOL_ERROR, "a header block is interrupted")
        if not self._configured:
            if kind != f.SETTINGS or flags & f.ACK:
                raise ProtocolError(f.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self._configured = True
        if kind == f.DATA:
            self._on_data(flags, ident, payload)
        elif kind == f.HEADERS:
            self._on_headers(flags, ident, payload)
        else:
            self._nothing()
            if kind == f.CONTINUATION:
                self._on_continuation(flags, ident, payload)
            else:
                self._on_control(kind, flags, ident, payload)

    def _on_headers(self, flags: int, ident: int, payload: bytes) -> None:
        if not ident & 1:
            raise ProtocolError(f.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & f.PADDED:
            payload = f.unpadded(payload, 5 if flags & f.WITH_PRIORITY else 0)
        if flags & f.WITH_PRIORITY:
            if len(payload) < 5:
                raise ProtocolError(f.FRAME_SIZE_ERROR, "a HEADERS frame is too short")
            payload = payload[5:]
        if flags & f.END_HEADERS:
            self._on_block(flags, ident, payload)
        else:
            self._block = [payload]
            self._block_stream, self._block_flags = ident, flags
            self.deadline = self._server.head_until

    def _on_continuation(self, flags: int, ident: int, payload: bytes) -> None:
        if not self._block_stream:
            raise ProtocolError(f.PROTOCOL_ERROR, "a CONTINUATION frame continues nothing")
        self._block.append(payload)
        size = sum(map(len, self._block))
        if len(self._block) > MOST_HEADER_FRAMES or size > MAX_HEAD:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "the headers are too large")
        if flags & f.END_HEADERS:
            block = b"".join(self._block)
            self._block, self._block_stream = [], 0
            self.deadline = NEVER
            self._on_block(self._block_flags, ident, block)

    def _on_block(self, flags: int, ident: int, block: bytes) -> None:
        # Fields that are new to the connection take about 50 us each.
        self._server.slices.spent += CALL_UNITS + (len(block) >> 6)
        try:
            if ident <= self._last:
                self._on_trailers(flags, ident, block)
                return
            if ident > self._last + 2:
                self._closed.opened(ident, self._last)
            self._last = ident
            head = self._heads.read(block)
        except MalformedHead:
            self._turn_away(ident, flags, f.PROTOCOL_ERROR)
            return
        if len(self._streams) >= self._most:
            self._turn_away(ident, flags, f.REFUSED_STREAM)
            return
        self.deadline = NEVER
        if head.problem is not None:
            if not flags & f.END_STREAM:
                self._closed.unfinished(ident)
            self._refuse(ident, head)
        elif head.length > 0 and not flags & f.END_STREAM and not self._admits(ident, head):
            pass  # it said itself how long its body is, so nobody waits for the data
        elif head.infer:
            call = Call(ident, head, self._initial, self._server.body_until)
            self._streams[ident] = call
            if head.length > 0:
                self._server.bodies.cover(call, head.length)
            if flags & f.END_STREAM:
                self._complete(call, b"")
        else:
            stream = AppStream(self, ident, head, self._initial, self._server.body_until)
            self._streams[ident] = stream
            self._server.slices.charge(TASK_S)
            if head.length > 0 and not stream.endless:
                self._server.bodies.cover(stream, head.length)
            if flags & f.END_STREAM:
                self._ended(stream, b"")

    def _turn_away(self, ident: int, flags: int, code: int) -> None:
        """Reset a stream, open or not, because of headers of its client."""
        if ident not in self._streams and not flags & f.END_STREAM:
            self._closed.unfinished(ident)
        self._strike()
        self.reset_number(ident, code)

    def _admits(self, ident: int, head: Head2) -> bool:
        """Whether the body that a head announces may come; if not, it is answered here."""
        server, length = self._server, head.length
        if head.path in LONG_LIVED:  # a stream has no length that counts
            return True
        error: errors.VigilError
        if length > server.max_body + (5 if head.grpc else 0):
            # It costs its client a few bytes: let none ask for thousands.
            self._strike()
            error = too_large(server.max_body)
        elif not server.bodies.fits(length, length):
            error = overloaded()
        else:
            return True
        self._answer_error(ident, self._initial, head, error)
        self._closed.unfinished(ident)
        self.write(f.reset(ident, f.NO_ERROR))
        return False

    def _on_trailers(self, flags: int, ident: int, block: bytes) -> None:
        stream = self._streams.get(ident)
        if stream is None:
            self._on_late(flags, ident, opens=True)
        self._heads.skip(block)
        if stream is None:
            return
        if stream.complete:
            self._strike()
            self.reset(stream, f.STREAM_CLOSED)
        elif not flags & f.END_STREAM:  # a malformed request (section 8.1)
            self._strike()
            self.reset(stream, f.PROTOCOL_ERROR)
        else:
            self._ended(stream, b"")

    def _on_late(self, flags: int, ident: int, *, opens: bool) -> None:
        """Take a frame for a stream that is not open any more."""
        self._closed.require_late(ident, opens)
        self._nothing()
        if flags & f.END_STREAM:
            self._closed.ended(ident)

    def _on_data(self, flags: int, ident: int, payload: bytes) -> None:
        size = len(payload)
        stream = self._streams.get(ident)
        self._window -= size
        if self._window < 0:
            raise ProtocolError(f.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if stream is None or stream.complete:
            self._on_late_data(stream, flags, ident, size)
            return
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if flags & f.END_STREAM and type(stream) is Call and stream.body is None:
            self._acknowledge(size)  # nearly every call: its one frame, which nobody has to keep
            self._complete(stream, payload)
        else:
            self._on_piece(stream, flags, size, payload)

    def _on_piece(self, stream: Call | AppStream, flags: int, size: int, payload: bytes) -> None:
        """Take a piece of a body that comes in several; `size` has its padding in it."""
        content, end = len(payload), bool(flags & f.END_STREAM)
        if not content and not end:
            self._nothing()
        stream.received += content
        stream.unacknowledged += size
        self._held += content
        if stream.unacknowledged > STREAM_WINDOW:
            raise ProtocolError(f.FLOW_CONTROL_ERROR, "more data than the window allows")
        self._acknowledge(size if type(stream) is Call else size - content)
        if stream.received > self._server.max_body + 5 and not stream.endless:
            if not isinstance(stream, Call):
                self._acknowledge(content)
            self._end_early(stream, too_large(self._server.max_body))
        elif stream.refused or not self._cover(stream, payload):
            self._no_room(stream, content, end=end)
        elif end:
            self._ended(stream, payload)
        elif isinstance(stream, Call):
            stream.body = stream.body or BodyBuffer()
            if content:
                stream.body.add(payload)
            self._grant(stream)
        else:
            stream.feed(payload, end=False)
        if self._held > self._most_held:
            self._shed()

    def _on_late_data(
        self, stream: Call | AppStream | None, flags: int, ident: int, size: int
    ) -> None:
        if self._is_idle(ident):
            raise ProtocolError(f.PROTOCOL_ERROR, "data for a stream that was never opened")
        self._acknowledge(size)
        if stream is None:
            self._on_late(flags, ident, opens=False)
        else:
            self._strike()
            self.reset(stream, f.STREAM_CLOSED)

    # -- the ends of streams ------------------------------------------------------------

    def _ended(self, stream: Call | AppStream, payload: bytes) -> None:
        if isinstance(stream, Call):
            if stream.body is not None:
                stream.body.add(payload)
                payload, stream.body = stream.body.join(), None
            self._held -= stream.received
            stream.received = 0
            self._complete(stream, payload)
            return
        stream.feed(payload, end=True)
        if stream.head.length not in (-1, stream.total):
            self._strike()
            self.reset(stream, f.PROTOCOL_ERROR)

    def _no_room(self, stream: Call | AppStream, content: int, *, end: bool) -> None:
        """Refuse a body, or the rest of a stream, because all bodies together are too long."""
        if not isinstance(stream, Call):
            self._acknowledge(content)
            if stream.endless:  # what came before is answered first
                self._held -= content
                stream.received -= content
                stream.refuse(end=end)
                return
        self._end_early(stream, overloaded())

    def _end_early(self, stream: Call | AppStream, error: errors.VigilError) -> None:
        """Refuse a body without reading the rest of it."""
        if stream.begun:
            self.reset(stream, f.CANCEL)
            return
        self._answer_error(stream.ident, stream.window, stream.head, error)
        self.reset(stream, f.NO_ERROR)

    def _answer_error(self, ident: int, window: int, head: Head2, error: errors.VigilError) -> None:
        log_failure(error, path=head.path)
        if head.grpc:
            self.fail_grpc(ident, grpc_status(error), error.message)
        else:
            retry_after_s = error.retry_after_s
            self.fail_json(ident, window, http_status(error), error.message, retry_after_s)

    def _refuse(self, ident: int, head: Head2) -> None:
        assert head.problem is not None
        if head.grpc:
            kind = errors.Forbidden if head.problem.status == 403 else errors.InvalidInput
            self._answer_error(ident, 0, head, kind(head.problem.sentence))
        else:
            self.fail_json(ident, self._initial, head.problem.status, head.problem.sentence)

    def finished(self, stream: AppStream) -> None:
        """The app has ended its answer."""
        if stream.ident in self._streams:
            if not stream.complete:  # the rest of the body interests nobody
                self.write(f.reset(stream.ident, f.NO_ERROR))
            self.forget(stream)

    def forget(self, stream: Call | AppStream) -> None:
        """The stream has ended: nothing is kept for it, and its client may send as much again."""
        streams = self._streams
        if streams.pop(stream.ident, None) is None:
            return
        if not stream.complete:
            self._closed.unfinished(stream.ident)
        if stream.received:
            self._held -= stream.received
            stream.received = 0
        self._server.bodies.held -= stream.charged
        stream.charged = 0
        if type(stream) is not Call:
            self._acknowledge(stream.dropped())  # type: ignore[union-attr]
        if self._blocked:
            self._blocked.pop(stream.ident, None)
        if not streams:
            if not self._block_stream:
                server = self._server
                self.deadline = server.head_until if self._parts else server.idle_until
            if not self._most:
                self._look_done()

    def _look_done(self) -> None:
        if not self._streams and not self._closing:
            self._closing = True
            self.leave()

    def _goodbye(self, code: int, why: str) -> None:
        """Tell the client why, and close."""
        # A number once given must not grow.
        self.write(f.goaway(min(self._last, self._refused_from), code, why))
        self._closing = True
        self.leave()
