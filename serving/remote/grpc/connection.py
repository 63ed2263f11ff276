"""A client's HTTP/2 connection (RFC 9113) that carries unary gRPC calls, many at a time.

A small call is two frames out in one write and three frames in, without a task or a future. We
tell the peer of windows that no answer fills, so that it never waits for room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from serving.http2 import frames as f
from serving.http2.blocks import BlockReader
from serving.http2.frames import ProtocolError
from serving.remote.grpc.call import GrpcCall, Lost
from serving.remote.grpc.heads import Refused, answer_head, refused_by_reset

MAX_FRAME: Final = 1 << 20
MAX_HEAD: Final = 64 << 10
CONNECTION_WINDOW: Final = 1 << 30
_LARGE: Final = 16 << 10
"""Payloads from this size on are taken as they come in, without waiting for the whole frame."""
_TABLE_SIZE: Final = 4096
_NO_TABLE: Final = b"\x20"

_HELLO: Final = (
    f.PREFACE
    + f.settings(
        {
            f.ENABLE_PUSH: 0,
            f.INITIAL_WINDOW_SIZE: f.LARGEST_WINDOW,
            f.MAX_FRAME_SIZE: MAX_FRAME,
            f.MAX_HEADER_LIST_SIZE: MAX_HEAD,
        }
    )
    + f.window_update(0, CONNECTION_WINDOW - f.FIRST_WINDOW)
)


class GrpcConnection(asyncio.Protocol):
    """One connection. All methods belong to the loop's thread.

    Args:
        unsent: gets calls that the peer says it has not looked at, to be sent elsewhere.
        on_closed: called once when the connection takes no more calls.
    """

    def __init__(
        self,
        unsent: Callable[[GrpcCall], None],
        on_closed: Callable[[GrpcConnection], None],
    ) -> None:
        self._unsent = unsent
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the peer has shown that it speaks HTTP/2."""
        self.open = True
        """Whether it takes calls."""
        self._lost = False
        self._calls: dict[int, GrpcCall] = {}
        self._queue: deque[GrpcCall] = deque()
        """Calls for which the peer allows no stream yet."""
        self._blocked: dict[int, GrpcCall] = {}
        """Calls whose message the peer has not made room for."""
        self._next = 1
        self._most = f.LARGEST_WINDOW
        self._room = f.FIRST_WINDOW
        self._initial = f.FIRST_WINDOW
        self._max_frame = f.SMALLEST_FRAME
        self._before_block = b""
        self._taken = 0
        self._heads = BlockReader(answer_head, MAX_HEAD)
        self._parts: list[bytes] = []
        self._have = self._need = 0
        self._rest = self._rest_ident = 0
        """What is to come of a large DATA frame, and of which stream it is."""
        self._rest_ends = False
        self._block: list[bytes] = []
        self._block_ident = self._block_flags = 0

    # -- calls --------------------------------------------------------------------------

    def start(self, call: GrpcCall) -> None:
        """Send a call, or keep it until the peer allows one more."""
        call.connection = self
        if len(self._calls) >= self._most:
            self._queue.append(call)
            return
        ident = call.ident = self._next
        self._next += 2
        if self._next > f.LARGEST_WINDOW:
            self._retire()
        call.window = self._initial
        self._calls[ident] = call
        block = call.block
        if self._before_block:
            block, self._before_block = self._before_block + block, b""
        self._flush(call, [f.headers(0, ident, block, self._max_frame)])

    def abandon(self, call: GrpcCall) -> None:
        """Nobody waits for a call any more."""
        if call.ident in self._calls:
            self._write(f.reset(call.ident, f.CANCEL))
            self._forget(call)
        elif not self._lost and call in self._queue:
            self._queue.remove(call)

    def close(self) -> None:
        """Say goodbye; what is under way is lost."""
        self._retire()
        if self._transport is not None and not self._lost:
            self._write(f.goaway(0, f.NO_ERROR))
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if not self._lost and self._transport is not None:
            self._transport.write(data)

    def _flush(self, call: GrpcCall, before: list[bytes] | None = None) -> None:
        """Send a call's message as far as the peer has made room for it."""
        assert self._transport is not None
        buffers: list[Any] = before or []
        while call.left:
            size = min(call.left, self._room, call.window, self._max_frame)
            if size <= 0:
                self._blocked[call.ident] = call
                break
            flags = f.END_STREAM if size == call.left else 0
            buffers.append(f.frame_head(size, f.DATA, flags, call.ident))
            buffers += call.take(size)
            self._room -= size
            call.window -= size
        else:
            self._blocked.pop(call.ident, None)
        if buffers and not self._lost:
            self._transport.writelines(buffers)

    def _flush_blocked(self) -> None:
        for call in list(self._blocked.values()):
            if self._room <= 0:
                return
            self._flush(call)

    def _forget(self, call: GrpcCall) -> None:
        """A call's stream has ended; the next one may begin."""
        del self._calls[call.ident]
        if self._blocked:
            self._blocked.pop(call.ident, None)
        while self._queue and self.open and len(self._calls) < self._most:
            self.start(self._queue.popleft())
        if not self.open and not self._calls and self._transport is not None:
            self._transport.close()

    def _end(self, call: GrpcCall, outcome: bytes | Exception, *, reset: int | None) -> None:
        if reset is not None:
            self._write(f.reset(call.ident, reset))
        self._forget(call)
        call.settle(outcome)

    def _retire(self) -> None:
        """Take no more calls; those that have no stream yet go elsewhere."""
        if not self.open:
            return
        self.open = False
        self._on_closed(self)
        queue, self._queue = self._queue, deque()
        for call in queue:
            call.connection = None
            self._unsent(call)

    # -- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow; calls may follow once the peer has done the same."""
        self._transport = transport  # type: ignore[assignment]
        self._write(_HELLO)

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything under way is lost."""
        self._lost = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("it closed the connection"))
            self.ready.exception()
        if self.open:
            self.open = False
            self._on_closed(self)
        calls = [*self._calls.values(), *self._queue]
        self._calls, self._blocked = {}, {}
        self._queue.clear()
        for call in calls:
            call.settle(Lost())

    def data_received(self, data: bytes) -> None:
        """Take in frames."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts = []
        need, size = 9, len(data)
        try:
            at = self._go_on(data) if self._rest else 0
            while size - at >= 9:
                high, low, kind, flags, ident = f.read_head(data, at)
                length = high << 8 | low
                if length > MAX_FRAME:
                    raise ProtocolError(f.FRAME_SIZE_ERROR, "a frame is over the announced limit")
                end = at + 9 + length
                if end > size:
                    if kind == f.DATA and length > _LARGE and not flags & f.PADDED:
                        self._begin_large(ident, flags, length, memoryview(data)[at + 9 :])
                        at = size
                    need = 9 + length
                    break
                self._take(kind, flags, ident & f.LARGEST_WINDOW, data[at + 9 : end])
                at = end
        except ProtocolError as error:
            self._write(f.goaway(0, error.code, error.why))
            if self._transport is not None:
                self._transport.close()
            return
        if at < size:
            self._parts, self._have, self._need = [data[at:]], size - at, need

    # -- frames -------------------------------------------------------------------------

    def _begin_large(self, ident: int, flags: int, length: int, piece: memoryview) -> None:
        if self._block_ident or not self.ready.done():
            raise ProtocolError(f.PROTOCOL_ERROR, "a DATA frame is out of order")
        self._rest, self._rest_ident = length - len(piece), ident & f.LARGEST_WINDOW
        self._rest_ends = bool(flags & f.END_STREAM)
        self._acknowledge(length)
        self._on_piece(self._rest_ident, piece)

    def _go_on(self, data: bytes) -> int:
        """Take more of a large DATA frame; returns where it ends in `data`."""
        size = min(self._rest, len(data))
        self._rest -= size
        self._on_piece(self._rest_ident, data if size == len(data) else memoryview(data)[:size])
        if not self._rest and self._rest_ends:
            self._on_early_end(self._rest_ident)
        return size

    def _take(self, kind: int, flags: int, ident: int, payload: bytes) -> None:
        if self._block_ident and (kind != f.CONTINUATION or ident != self._block_ident):
            raise ProtocolError(f.PROTOCOL_ERROR, "a header block is interrupted")
        if not self.ready.done() and (kind != f.SETTINGS or flags & f.ACK):
            raise ProtocolError(f.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if kind == f.DATA:
            self._acknowledge(len(payload))
            if flags & f.PADDED:
                payload = f.unpadded(payload)
            self._on_piece(ident, payload)
            if flags & f.END_STREAM:
                self._on_early_end(ident)
        elif kind == f.HEADERS:
            self._on_headers(flags, ident, payload)
        else:
            handler = _HANDLERS.get(kind)
            if handler is not None:  # frames of unknown types are ignored, as the protocol asks
                handler(self, flags, ident, payload)

    def _on_piece(self, ident: int, piece: bytes | memoryview) -> None:
        call = self._calls.get(ident)
        if call is None:
            self._never_opened(ident)
            return
        try:
            call.data(piece)
        except Refused as refused:
            self._end(call, refused, reset=f.CANCEL)

    def _on_early_end(self, ident: int) -> None:
        call = self._calls.get(ident)
        if call is not None:  # gRPC ends a call with trailers
            refused = Refused("UNKNOWN", "it ended the call without a status")
            self._end(call, refused, reset=f.CANCEL if call.left else None)

    def _on_headers(self, flags: int, ident: int, payload: bytes) -> None:
        if flags & f.PADDED:
            payload = f.unpadded(payload)
        if flags & f.WITH_PRIORITY:
            payload = payload[5:]
        if flags & f.END_HEADERS:
            self._on_block(flags, ident, payload)
        else:
            self._block = [payload]
            self._block_ident, self._block_flags = ident, flags

    def _on_continuation(self, flags: int, ident: int, payload: bytes) -> None:
        if not self._block_ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "a CONTINUATION frame continues nothing")
        self._block.append(payload)
        if len(self._block) > 64 or sum(map(len, self._block)) > MAX_HEAD:
            raise ProtocolError(f.ENHANCE_YOUR_CALM, "the headers are too large")
        if flags & f.END_HEADERS:
            block = b"".join(self._block)
            self._block, self._block_ident = [], 0
            self._on_block(self._block_flags, ident, block)

    def _on_block(self, flags: int, ident: int, block: bytes) -> None:
        head = self._heads.read(block)
        call = self._calls.get(ident)
        if call is None:
            self._never_opened(ident)
            return
        end = bool(flags & f.END_STREAM)
        try:
            message = call.headers(head, end=end)
        except Refused as refused:
            self._end(call, refused, reset=None if end and not call.left else f.CANCEL)
        else:
            if message is not None:
                self._end(call, message, reset=f.CANCEL if call.left else None)

    def _never_opened(self, ident: int) -> None:
        if not ident & 1 or ident >= self._next:
            raise ProtocolError(f.PROTOCOL_ERROR, "a frame for a stream that was never opened")

    def _on_reset(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a RST_STREAM frame is malformed")
        call = self._calls.get(ident)
        if call is None:
            return
        code = int.from_bytes(payload, "big")
        if code == f.REFUSED_STREAM and 1 < len(self._calls) >= self._most:
            # It has ended a stream for us that it still counts: the end of another one makes room.
            del self._calls[ident]
            self._blocked.pop(ident, None)
            call.rewind()
            self._queue.appendleft(call)
            return
        if code == f.REFUSED_STREAM and not call.again:
            call.again = True
            self._forget(call)
            self._give_back(call)
            return
        self._end(call, refused_by_reset(code), reset=None)

    def _give_back(self, call: GrpcCall) -> None:
        call.connection = None
        call.rewind()
        self._unsent(call)

    def _on_settings(self, flags: int, _ident: int, payload: bytes) -> None:
        if flags & f.ACK:
            return
        for key, value in f.read_settings(payload):
            if key == f.INITIAL_WINDOW_SIZE:
                if value > f.LARGEST_WINDOW:
                    raise ProtocolError(f.FLOW_CONTROL_ERROR, "a window is too large")
                for call in self._calls.values():
                    call.window += value - self._initial
                self._initial = value
            elif key == f.MAX_FRAME_SIZE:
                if not f.SMALLEST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f.PROTOCOL_ERROR, "a frame size is out of range")
                self._max_frame = min(value, MAX_FRAME)
            elif key == f.MAX_CONCURRENT_STREAMS:
                self._most = value
            elif key == f.HEADER_TABLE_SIZE and value < _TABLE_SIZE:
                # Our blocks need no table, but one that shrinks must be acknowledged in them.
                self._before_block = _NO_TABLE
        self._write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        if not self.ready.done():
            self.ready.set_result(None)
        self._flush_blocked()
        while self._queue and self.open and len(self._calls) < self._most:
            self.start(self._queue.popleft())

    def _on_ping(self, flags: int, _ident: int, payload: bytes) -> None:
        if not flags & f.ACK:
            self._write(f.frame(f.PING, f.ACK, 0, payload))

    def _on_goaway(self, _flags: int, _ident: int, payload: bytes) -> None:
        """Finish what the peer has seen; the rest may go elsewhere."""
        if len(payload) < 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a GOAWAY frame is malformed")
        last = int.from_bytes(payload[:4], "big") & f.LARGEST_WINDOW
        self._retire()
        for call in [call for ident, call in self._calls.items() if ident > last]:
            self._calls.pop(call.ident)
            self._blocked.pop(call.ident, None)
            self._give_back(call)
        if not self._calls and self._transport is not None:
            self._transport.close()

    def _on_window(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame is malformed")
        more = int.from_bytes(payload, "big") & f.LARGEST_WINDOW
        if not ident:
            self._room += more
            if self._room > f.LARGEST_WINDOW:
                raise ProtocolError(f.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._flush_blocked()
            return
        call = self._calls.get(ident)
        if call is not None:
            call.window += more
            if call.left:
                self._flush(call)

    def _on_push(self, _flags: int, _ident: int, _payload: bytes) -> None:
        raise ProtocolError(f.PROTOCOL_ERROR, "nobody has allowed pushes")

    def _acknowledge(self, size: int) -> None:
        """Let the peer send as much again on the connection."""
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 2:
            self._write(f.window_update(0, self._taken))
            self._taken = 0


_HANDLERS: Final[dict[int, Any]] = {
    f.RST_STREAM: GrpcConnection._on_reset,
    f.SETTINGS: GrpcConnection._on_settings,
    f.PUSH_PROMISE: GrpcConnection._on_push,
    f.PING: GrpcConnection._on_ping,
    f.GOAWAY: GrpcConnection._on_goaway,
    f.WINDOW_UPDATE: GrpcConnection._on_window,
    f.CONTINUATION: GrpcConnection._on_continuation,
}
