"""HTTP/2 on one connection (RFC 9113), for gRPC above all.

A plain ModelInfer call goes the quick path: two frames in, three frames out in one write, and
no task. Every other stream is handed to the ASGI app.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from serving import errors
from serving.gateway.bodies import too_large
from serving.gateway.direct import frames2 as f
from serving.gateway.direct import inference
from serving.gateway.direct.frames2 import ProtocolError
from serving.gateway.direct.heads import MAX_HEAD
from serving.gateway.direct.heads2 import Head2, HeadReader2, MalformedHead
from serving.gateway.direct.speaker import BODY_S, IDLE_S, NEVER, Speaker
from serving.gateway.direct.streams2 import AppStream
from serving.gateway.grpc_frames import INTERNAL, plain_message, status_trailers
from serving.gateway.grpc_paths import LONG_LIVED
from serving.protocol.grpc_templates import RequestReader
from serving.protocol.status import error_body, grpc_status

if TYPE_CHECKING:
    from serving.dataplane.handler import Ticket
    from serving.gateway.direct.server import DirectServer

MOST_STREAMS: Final = 1024
MAX_FRAME: Final = 256 << 10
STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 16 << 20
MOST_HEADER_FRAMES: Final = 16
MOST_RESETS: Final = 2_000
MOST_CONTROL: Final = 20_000
"""Frames a second that a client may spend on nothing before it is asked to calm down."""

_log = logging.getLogger("vigil.gateway")
_SETTINGS: Final = f.settings(
    {
        f.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        f.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        f.MAX_FRAME_SIZE: MAX_FRAME,
        f.MAX_HEADER_LIST_SIZE: 60 << 10,
    }
) + f.window_update(0, CONNECTION_WINDOW - f.FIRST_WINDOW)

_GRPC_START: Final = b"\x88" + f.literal(b"content-type", b"application/grpc")
_GRPC_OK: Final = f.literal(b"grpc-status", b"0")
# An answer in one write: frame heads without their stream, which comes between the pieces.
_OK_HEAD: Final = len(_GRPC_START).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS))
_OK_END: Final = len(_GRPC_OK).to_bytes(3, "big") + bytes((f.HEADERS, f.END_HEADERS | f.END_STREAM))
_OK_DATA: Final = bytes((f.DATA, 0))


class Call:
    """A plain ModelInfer call from its headers to its answer."""

    __slots__ = (
        "body", "complete", "deadline", "head", "ident", "pieces", "raw", "received",
        "ticket", "trailers", "unacknowledged", "waiting", "window",
    )  # fmt: skip

    def __init__(self, ident: int, head: Head2, window: int, deadline: float) -> None:
        self.ident = ident
        self.head = head
        self.window = window
        self.deadline = deadline
        self.pieces: list[bytes] = []
        self.received = 0
        self.unacknowledged = 0
        self.complete = False
        self.ticket: Ticket | None = None
        self.raw = True
        self.waiting: deque[tuple[bytes | memoryview, bool]] = deque()
        self.trailers = b""

    def lost(self) -> None:
        """Nobody waits for it any more."""
        self.waiting.clear()
        if self.ticket is not None:
            self.ticket.future.cancel()


class Http2(Speaker):
    """A connection that speaks HTTP/2."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self.app = server.app
        self._heads = HeadReader2()
        self._requests = RequestReader()
        self._streams: dict[int, Call | AppStream] = {}
        self._blocked: dict[int, Call | AppStream] = {}
        self._rest = b""
        self._skip = len(f.PREFACE)
        self._last = 0
        self._refused_from = f.LARGEST_WINDOW
        self._block: list[bytes] = []
        self._block_stream = 0
        self._block_flags = 0
        self._room = f.FIRST_WINDOW
        self._initial = f.FIRST_WINDOW
        self._max_frame = f.SMALLEST_FRAME
        self._taken = 0
        self._held = 0
        self._resets = 0
        self._control = 0
        self._configured = False
        self._closing = False
        transport.write(_SETTINGS)

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in frames."""
        if self._closing:
            return
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        if self._skip:
            at, self._skip = self._skip, 0
        try:
            while size - at >= 9:
                high, low, kind, flags, ident = f.read_head(data, at)
                length = high << 8 | low
                if length > MAX_FRAME:
                    raise ProtocolError(f.FRAME_SIZE_ERROR, "a frame is over the announced limit")
                end = at + 9 + length
                if end > size:
                    break
                self._take(kind, flags, ident & 0x7FFFFFFF, data[at + 9 : end])
                at = end
        except ProtocolError as error:
            self._end(error.code, error.why)
            return
        self._rest = data[at:]
        if not self._streams:
            self.deadline = self._server.now + IDLE_S

    def lost(self) -> None:
        """The connection is gone, and with it whoever waits for an answer."""
        self._closing = True
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.lost()

    def too_slow(self) -> None:
        """Nothing has happened for long enough."""
        self._end(f.NO_ERROR, "idle for too long")

    def stop(self) -> None:
        """Ask the client to open its next streams elsewhere; end when all is answered."""
        if not self._closing and self._refused_from == f.LARGEST_WINDOW:
            self.write(f.goaway(f.LARGEST_WINDOW, f.NO_ERROR))

    def stopped(self) -> None:
        """No stream is taken any more."""
        if not self._closing and self._refused_from == f.LARGEST_WINDOW:
            self._refused_from = self._last
            self.write(f.goaway(self._last, f.NO_ERROR))
            self._look_done()

    def sweep(self, now: float) -> None:
        """Once a second: forgive what a client did, and reset streams that are too slow."""
        super().sweep(now)
        self._resets = self._control = 0
        slow = [s for s in self._streams.values() if not s.complete and s.deadline < now]
        for stream in slow:
            self.write(f.reset(stream.ident, f.CANCEL))
            self._forget(stream)
            stream.lost()

    def body_deadline(self) -> float:
        """Return when the body of a stream that begins now must have come."""
        return self._server.now + BODY_S

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
            handler = _HANDLERS.get(kind)
            self._control += 1
            if self._control > MOST_CONTROL:
                raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
            if handler is not None:  # frames of unknown types are ignored, as the protocol asks
                handler(self, flags, ident, payload)

    def _on_headers(self, flags: int, ident: int, payload: bytes) -> None:
        if not ident & 1:
            raise ProtocolError(f.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & f.PADDED:
            payload = _unpadded(payload)
        if flags & f.WITH_PRIORITY:
            if len(payload) < 5:
                raise ProtocolError(f.FRAME_SIZE_ERROR, "a HEADERS frame is too short")
            payload = payload[5:]
        if flags & f.END_HEADERS:
            self._on_block(flags, ident, payload)
        else:
            self._block = [payload]
            self._block_stream, self._block_flags = ident, flags

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
            self._on_block(self._block_flags, ident, block)

    def _on_block(self, flags: int, ident: int, block: bytes) -> None:
        try:
            if ident <= self._last:
                self._on_trailers(flags, ident, block)
                return
            head = self._heads.read(block)
        except MalformedHead:
            self._last = max(self._last, ident)
            self._strike()
            self.write(f.reset(ident, f.PROTOCOL_ERROR))
            stream = self._streams.get(ident)
            if stream is not None:
                self._forget(stream)
                stream.lost()
            return
        self._last = ident
        if ident > self._refused_from or len(self._streams) >= MOST_STREAMS:
            self._strike()
            self.write(f.reset(ident, f.REFUSED_STREAM))
            return
        self.deadline = NEVER
        end = bool(flags & f.END_STREAM)
        if head.problem is not None:
            self._refuse(ident, head)
        elif head.infer:
            call = Call(ident, head, self._initial, self._server.now + BODY_S)
            self._streams[ident] = call
            if end:
                self._complete(call, b"")
        else:
            stream = AppStream(self, ident, head, self._initial)
            if head.path in LONG_LIVED:
                stream.deadline = NEVER
            self._streams[ident] = stream
            if end:
                stream.feed(b"", end=True)

    def _on_trailers(self, flags: int, ident: int, block: bytes) -> None:
        self._heads.skip(block)
        stream = self._streams.get(ident)
        if stream is None or stream.complete:
            return  # its answer has crossed them
        if not flags & f.END_STREAM:
            raise ProtocolError(f.PROTOCOL_ERROR, "trailers must end their stream")
        self._ended(stream, b"")

    def _on_data(self, flags: int, ident: int, payload: bytes) -> None:
        size = len(payload)
        stream = self._streams.get(ident)
        if not size:
            self._control += 1
            if self._control > MOST_CONTROL:
                raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
        if stream is None or stream.complete:
            if ident > self._last or not ident:
                raise ProtocolError(f.PROTOCOL_ERROR, "data for a stream that was never opened")
            self._acknowledge(size)  # it crossed our answer or our reset
            return
        if flags & f.PADDED:
            payload = _unpadded(payload)
        self._taken_more(stream, size, len(payload))
        if stream.received > self._server.max_body + 5:
            self._too_large(stream)
        elif flags & f.END_STREAM:
            self._ended(stream, payload)
        elif type(stream) is Call:
            stream.pieces.append(payload)
            self._grant(stream)
        else:
            stream.feed(payload, end=False)  # type: ignore[union-attr]

    def _on_reset(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4 or ident > self._last or not ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "a RST_STREAM frame is malformed")
        self._strike()
        stream = self._streams.get(ident)
        if stream is not None:
            self._forget(stream)
            stream.lost()

    def _on_settings(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "SETTINGS belong to the connection")
        if flags & f.ACK:
            return
        for key, value in f.read_settings(payload):
            if key == f.INITIAL_WINDOW_SIZE:
                if value > f.LARGEST_WINDOW:
                    raise ProtocolError(f.FLOW_CONTROL_ERROR, "a window is too large")
                for stream in self._streams.values():
                    stream.window += value - self._initial
                self._initial = value
            elif key == f.MAX_FRAME_SIZE:
                if not f.SMALLEST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f.PROTOCOL_ERROR, "a frame size is out of range")
                self._max_frame = value
        self.write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        self._flush_blocked()

    def _on_ping(self, flags: int, ident: int, payload: bytes) -> None:
        if ident or len(payload) != 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a PING frame is malformed")
        if not flags & f.ACK:
            self.write(f.frame(f.PING, f.ACK, 0, payload))

    def _on_window(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame is malformed")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not ident:
            self._room += more
            if not more or self._room > f.LARGEST_WINDOW:
                raise ProtocolError(f.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._flush_blocked()
            return
        stream = self._streams.get(ident)
        if stream is None:
            if ident > self._last:
                raise ProtocolError(f.PROTOCOL_ERROR, "a window for a stream that is not open")
            return
        stream.window += more
        if not more or stream.window > f.LARGEST_WINDOW:
            self.reset(stream, f.FLOW_CONTROL_ERROR)
        elif stream.waiting:
            self.flush(stream)

    def _on_priority(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 5 or not ident:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a PRIORITY frame is malformed")

    def _on_push(self, _flags: int, _ident: int, _payload: bytes) -> None:
        raise ProtocolError(f.PROTOCOL_ERROR, "a client cannot push")

    def _strike(self) -> None:
        self._resets += 1
        if self._resets > MOST_RESETS:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "too many streams were reset")

    # -- what the client may send -------------------------------------------------------

    def _taken_more(self, stream: Call | AppStream, size: int, content: int) -> None:
        stream.received += content
        stream.unacknowledged += size
        self._held += content
        if type(stream) is Call:
            self._acknowledge(size)
        elif size > content:
            self._acknowledge(size - content)
        if stream.unacknowledged > STREAM_WINDOW:
            raise ProtocolError(f.FLOW_CONTROL_ERROR, "more data than the window allows")

    def _acknowledge(self, size: int) -> None:
        """Let the client send as much again on the connection, unless it holds too much here."""
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 2 and self._held <= 2 * self._server.max_body:
            self.write(f.window_update(0, self._taken))
            self._taken = 0

    def _grant(self, stream: Call | AppStream) -> None:
        if stream.unacknowledged >= STREAM_WINDOW // 2:
            self.write(f.window_update(stream.ident, stream.unacknowledged))
            stream.unacknowledged = 0

    def consumed(self, stream: AppStream, size: int) -> None:
        """The app has taken `size` bytes of a stream's body."""
        self._held -= size
        stream.received -= size  # the app has bounds of its own on messages and bodies
        self._acknowledge(size)
        if not stream.complete:
            self._grant(stream)

    # -- calls --------------------------------------------------------------------------

    def _ended(self, stream: Call | AppStream, payload: bytes) -> None:
        if type(stream) is Call:
            if stream.pieces:
                payload = b"".join((*stream.pieces, payload))
                stream.pieces.clear()
            self._complete(stream, payload)
        else:
            stream.feed(payload, end=True)  # type: ignore[union-attr]

    def _complete(self, call: Call, body: bytes) -> None:
        """Answer a call whose message is whole."""
        call.complete = True
        self._held -= len(body)
        head = call.head
        if head.length >= 0 and head.length != len(body):
            self.reset(call, f.PROTOCOL_ERROR)
            return
        try:
            payload = plain_message(body, self._server.max_body)
            request, call.raw = self._requests.read(payload)
            ticket = self._server.plane.begin(request, head.timeout_s)
        except errors.VigilError as error:
            self._fail(call, grpc_status(error), error.message)
        except Exception:  # noqa: BLE001 - the client gets a status, the operator the traceback
            _log.exception("unexpected error in ModelInfer")
            self._fail(call, INTERNAL, inference.INTERNAL)
        else:
            call.ticket = ticket
            ticket.future.add_done_callback(partial(self._inferred, call, ticket))

    def _inferred(self, call: Call, ticket: Ticket, _future: object) -> None:
        call.ticket = None
        try:
            response = self._server.plane.finish(ticket)
            message = self._server.responses.write(response, ticket.request, call.raw)
        except errors.VigilError as error:
            self._fail(call, grpc_status(error), error.message)
        except asyncio.CancelledError:
            return
        except Exception:  # noqa: BLE001 - as above
            _log.exception("an answer of model '%s' cannot be written", ticket.request.model_name)
            self._fail(call, INTERNAL, inference.INTERNAL)
        else:
            self._answer(call, message)

    def _answer(self, call: Call, message: bytes) -> None:
        size = len(message) + 5
        ident = call.ident.to_bytes(4, "big")
        prefix = b"\x00" + len(message).to_bytes(4, "big")
        if size <= self._room and size <= call.window and size <= self._max_frame:
            self._room -= size
            self.write(
                b"".join((
                    _OK_HEAD, ident, _GRPC_START,
                    size.to_bytes(3, "big"), _OK_DATA, ident, prefix, message,
                    _OK_END, ident, _GRPC_OK,
                ))
            )  # fmt: skip
            self._forget(call)
            return
        self.write(b"".join((_OK_HEAD, ident, _GRPC_START)))
        call.trailers = b"".join((_OK_END, ident, _GRPC_OK))
        call.waiting.append((memoryview(prefix + message), False))
        self.flush(call)

    def _fail(self, call: Call, status: int, text: str) -> None:
        block = _GRPC_START + b"".join(f.literal(k, v) for k, v in status_trailers(status, text))
        self.write(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, call.ident, block))
        self._forget(call)

    def _too_large(self, stream: Call | AppStream) -> None:
        """Refuse a body over the limit without reading the rest of it."""
        error = too_large(self._server.max_body)
        if stream.head.grpc:
            trailers = status_trailers(grpc_status(error), error.message)
            block = _GRPC_START + b"".join(f.literal(k, v) for k, v in trailers)
            self.write(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream.ident, block))
        else:
            self._write_json(stream.ident, 413, error.message)
        self.reset(stream, f.NO_ERROR)

    def _refuse(self, ident: int, head: Head2) -> None:
        assert head.problem is not None
        if head.grpc:
            error = errors.InvalidInput(head.problem.sentence)
            trailers = status_trailers(grpc_status(error), error.message)
            block = _GRPC_START + b"".join(f.literal(k, v) for k, v in trailers)
            self.write(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, ident, block))
        else:
            self._write_json(ident, head.problem.status, head.problem.sentence)

    def _write_json(self, ident: int, status: int, sentence: str) -> None:
        block = f.literal(b":status", b"%d" % status) + f.literal(
            b"content-type", b"application/json"
        )
        body = error_body(sentence)
        self.write(f.frame(f.HEADERS, f.END_HEADERS, ident, block))
        self._room -= len(body)  # a short sentence always fits into what clients grant
        self.write(f.frame(f.DATA, f.END_STREAM, ident, body))

    # -- what goes out ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self, stream: Call | AppStream) -> None:
        """Write what waits on a stream, as far as the client has made room."""
        waiting = stream.waiting
        while waiting:
            body, end = waiting[0]
            size = min(len(body), self._room, stream.window, self._max_frame)
            if size <= 0 and len(body):
                self._blocked[stream.ident] = stream
                return
            whole = size == len(body)
            self.write(
                f.frame(f.DATA, f.END_STREAM if end and whole else 0, stream.ident,
                        bytes(body[:size]))
            )  # fmt: skip
            self._room -= size
            stream.window -= size
            if whole:
                waiting.popleft()
            else:
                waiting[0] = (memoryview(body)[size:], end)
        self._blocked.pop(stream.ident, None)
        if type(stream) is Call:
            self.write(stream.trailers)
            self._forget(stream)
        else:
            stream.flushed()  # type: ignore[union-attr]

    def _flush_blocked(self) -> None:
        for stream in list(self._blocked.values()):
            if self._room <= 0:
                return
            self.flush(stream)

    def finished(self, stream: AppStream) -> None:
        """The app has ended its answer."""
        if stream.ident in self._streams:
            if not stream.complete:  # the rest of the body interests nobody
                self.write(f.reset(stream.ident, f.NO_ERROR))
            self._forget(stream)

    def reset(self, stream: Call | AppStream, code: int) -> None:
        """End a stream without an answer, or without the rest of one."""
        if stream.ident in self._streams:
            self.write(f.reset(stream.ident, code))
            self._forget(stream)
            stream.lost()

    def _forget(self, stream: Call | AppStream) -> None:
        if self._streams.pop(stream.ident, None) is None:
            return
        if type(stream) is Call:
            if stream.pieces:
                self._held -= sum(map(len, stream.pieces))
        else:
            self._held -= stream.received
        self._blocked.pop(stream.ident, None)
        if not self._streams:
            self.deadline = self._server.now + IDLE_S
            self._look_done()

    def _look_done(self) -> None:
        if self._refused_from != f.LARGEST_WINDOW and not self._streams:
            self._transport.close()

    def _end(self, code: int, why: str) -> None:
        """Tell the client why, and close."""
        self.write(f.goaway(self._last, code, why))
        self._closing = True
        self._transport.close()


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(f.PROTOCOL_ERROR, "a frame is shorter than its padding")
    return payload[1 : len(payload) - payload[0]]


_HANDLERS: Final[dict[int, Any]] = {
    f.PRIORITY: Http2._on_priority,
    f.RST_STREAM: Http2._on_reset,
    f.SETTINGS: Http2._on_settings,
    f.PUSH_PROMISE: Http2._on_push,
    f.PING: Http2._on_ping,
    f.GOAWAY: lambda *_: None,
    f.WINDOW_UPDATE: Http2._on_window,
    f.CONTINUATION: Http2._on_continuation,
}
