"""HTTP/2 (RFC 9113) on one connection, for gRPC above all: what comes in, frame by frame."""

from __future__ import annotations

import asyncio
from typing import Final

from serving.gateway.direct.connection import NEVER, Connection
from serving.gateway.direct.http1.heads import MAX_HEAD
from serving.gateway.direct.http2.control import ControlFrames
from serving.gateway.direct.http2.intake import CONNECTION_WINDOW, STREAM_WINDOW, Intake
from serving.gateway.direct.http2.open_streams import OpenStreams
from serving.gateway.direct.http2.requests import MOST_STREAMS, Requests
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.http2.shapes import Shapes2
from serving.gateway.direct.http2.unary import UnaryCalls
from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState
from serving.gateway.direct.time_slices import SAMPLE
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

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


class Http2(Connection):
    """A connection that speaks HTTP/2.

    Args:
        state: what all connections share.
        transport: the connection's.
        peer: who is at its other end.
        shapes: heads that all connections have seen lately.
    """

    def __init__(
        self, state: ServerState, transport: asyncio.Transport, peer: Peer, shapes: Shapes2
    ) -> None:
        super().__init__(state, transport, peer)
        self._sender = sender = Sender(transport, state.clock)
        self._intake = intake = Intake(state, sender)
        self._streams = streams = OpenStreams(state, sender, intake, self._emptied)
        calls = UnaryCalls(state, transport, streams, sender)
        self._requests = Requests(state, peer, streams, sender, intake, calls, shapes)
        self._control = ControlFrames(streams, sender, intake)
        self._parts: list[bytes] = []
        """The beginning of a frame that is not whole yet."""
        self._have = self._need = 0
        self._skip = len(f.PREFACE)
        self._refused_from = f.LARGEST_WINDOW
        self._block: list[bytes] = []
        self._block_stream = 0
        self._block_flags = 0
        self._configured = False
        transport.write(_SETTINGS)

    # -- events of the connection -------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in frames, or keep them for a later turn."""
        if self._sender.closing:
            return
        slices = self._state.slices
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
        if self._sender.closing or self._stalled:
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
        slices = self._state.slices
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
                    if at < size and not self._sender.closing:
                        self._keep(data, at)
                    at = size
                    break
        except ProtocolError as error:
            self._goodbye(error.code, error.why)
            return
        except Exception as error:  # noqa: BLE001 - the event loop would log it, and the client would wait
            report(Event.INTERNAL_ERROR, "a frame could not be handled", error=error)
            self._goodbye(f.INTERNAL_ERROR, "internal error")
            return
        if at < size:
            self._parts, self._have, self._need = [data[at:]], size - at, need
        # Else the block has a deadline, or streams have.
        if not self._streams.by_number and not self._block_stream:
            self.deadline = (
                self._state.clock.idle_until if at == size else self._state.clock.head_until
            )

    def lost(self) -> None:
        """The connection is gone, and with it whoever waits for an answer."""
        self._sender.closing = True
        self._streams.lost()

    def too_slow(self) -> None:
        """Nothing has happened for long enough, or headers do not end."""
        self._goodbye(f.NO_ERROR, "nothing whole has come for too long")

    def stop(self) -> None:
        """Ask the client to open its next streams elsewhere; end when all is answered."""
        if not self._sender.closing and self._refused_from == f.LARGEST_WINDOW:
            self._sender.write(f.goaway(f.LARGEST_WINDOW, f.NO_ERROR))

    def stopped(self) -> None:
        """No stream is taken any more."""
        if not self._sender.closing and self._refused_from == f.LARGEST_WINDOW:
            self._refused_from = self._streams.last
            self._requests.most = 0
            self._sender.write(f.goaway(self._streams.last, f.NO_ERROR))
            self._look_done()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._sender.stalled = True

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._sender.stalled = False
        if not self._transport.is_closing():
            self._streams.flush_blocked()

    def sweep(self, now: float) -> None:
        """Once a second: forgive what a client did, and reset streams that are too slow."""
        super().sweep(now)
        self._intake.forgive()
        self._streams.sweep(now)

    def _prolong(self, seconds: float) -> None:
        """Allow the client more time, for each of its streams as well."""
        super()._prolong(seconds)
        self._streams.prolong(seconds)

    # -- frames -------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, ident: int, payload: bytes) -> None:
        if self._block_stream and (kind != f.CONTINUATION or ident != self._block_stream):
            raise ProtocolError(f.PROTOCOL_ERROR, "a header block is interrupted")
        if not self._configured:
            if kind != f.SETTINGS or flags & f.ACK:
                raise ProtocolError(f.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self._configured = True
        if kind == f.DATA:
            self._requests.data(flags, ident, payload)
        elif kind == f.HEADERS:
            self._on_headers(flags, ident, payload)
        else:
            self._intake.nothing()
            if kind == f.CONTINUATION:
                self._on_continuation(flags, ident, payload)
            else:
                self._control.take(kind, flags, ident, payload)

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
            self.deadline = NEVER
            self._requests.begin(flags, ident, payload)
        else:
            self._block = [payload]
            self._block_stream, self._block_flags = ident, flags
            self.deadline = self._state.clock.head_until

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
            self._requests.begin(self._block_flags, ident, block)

    # -- the end ------------------------------------------------------------------------

    def _emptied(self) -> None:
        """No stream is open any more."""
        if not self._block_stream:
            clock = self._state.clock
            self.deadline = clock.head_until if self._parts else clock.idle_until
        if not self._requests.most:
            self._look_done()

    def _look_done(self) -> None:
        if not self._streams.by_number and not self._sender.closing:
            self._sender.closing = True
            self.leave()

    def _goodbye(self, code: int, why: str) -> None:
        """Tell the client why, and close."""
        # A number once given must not grow.
        self._sender.write(f.goaway(min(self._streams.last, self._refused_from), code, why))
        self._sender.closing = True
        self.leave()
