"""Frames of an HTTP/2 client about its connection and its streams (RFC 9113, 6.3 to 6.9).

What is wrong with one ends the stream or the connection, as the section about the frame says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from serving.gateway.direct.http2.closed import ClosedStreams
from serving.gateway.direct.http2.intake import Intake
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

if TYPE_CHECKING:
    from serving.gateway.direct.server import DirectServer

SETTINGS_WEIGHT: Final = 100
"""A SETTINGS frame counts as so many frames that ask for nothing: it concerns every stream."""


class Control(Intake):
    """A connection that does what its client's frames ask for that carry no request."""

    def __init__(
        self,
        server: DirectServer,
        transport: asyncio.Transport,
        client: tuple[str, int] | None,
    ) -> None:
        super().__init__(server, transport, client)
        self._closed = ClosedStreams()
        self._last = 0
        """The number of the client's last stream."""

    def _is_idle(self, ident: int) -> bool:
        """Whether no stream of that number was ever opened, or could have been by a client."""
        return ident > self._last or not ident & 1

    def _on_control(self, kind: int, flags: int, ident: int, payload: bytes) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:  # frames of unknown types are ignored, as the protocol asks
            handler(self, flags, ident, payload)

    def _on_reset(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a RST_STREAM frame is malformed")
        if self._is_idle(ident):
            raise ProtocolError(f.PROTOCOL_ERROR, "a reset of a stream that was never opened")
        self._strike()
        stream = self._streams.get(ident)
        if stream is not None:
            self.forget(stream)
            stream.lost()
        self._closed.ended(ident)

    def _on_settings(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "SETTINGS belong to the connection")
        if flags & f.ACK:
            if payload:
                raise ProtocolError(f.FRAME_SIZE_ERROR, "an acknowledgement has no payload")
            return
        self._control += SETTINGS_WEIGHT + len(payload) // 6
        self._nothing()
        window = self._initial
        for key, value in f.read_settings(payload):
            if key == f.INITIAL_WINDOW_SIZE:
                if value > f.LARGEST_WINDOW:
                    raise ProtocolError(f.FLOW_CONTROL_ERROR, "a window is too large")
                window = value
            elif key == f.MAX_FRAME_SIZE:
                if not f.SMALLEST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f.PROTOCOL_ERROR, "a frame size is out of range")
                self._max_frame = value
            elif key == f.ENABLE_PUSH and value > 1:
                raise ProtocolError(f.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
            elif key == f.ENABLE_CONNECT_PROTOCOL and value > 1:  # RFC 8441, section 3
                raise ProtocolError(f.PROTOCOL_ERROR, "the setting is neither 0 nor 1")
        self.write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        self.set_window(window)  # once: it looks at every stream

    def _on_ping(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "PING belongs to the connection")
        if len(payload) != 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a PING frame is malformed")
        if not flags & f.ACK:
            self.write(f.frame(f.PING, f.ACK, 0, payload))

    def _on_window(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame is malformed")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not ident:
            if not more:
                raise ProtocolError(f.PROTOCOL_ERROR, "a window grows by nothing")
            self._room += more
            if self._room > f.LARGEST_WINDOW:
                raise ProtocolError(f.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._flush_blocked()
            return
        stream = self._streams.get(ident)
        if stream is None:
            if self._is_idle(ident):
                raise ProtocolError(f.PROTOCOL_ERROR, "a window for a stream that is not open")
            return
        stream.window += more
        if not more or stream.window > f.LARGEST_WINDOW:
            self._strike()
            self.reset(stream, f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR)
        elif stream.waiting:
            self.flush(stream)

    def _on_priority(self, _flags: int, ident: int, payload: bytes) -> None:
        if not ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "PRIORITY belongs to a stream")
        if len(payload) != 5:
            if self._is_idle(ident):  # which must not be reset (section 6.4)
                raise ProtocolError(f.FRAME_SIZE_ERROR, "a PRIORITY frame is malformed")
            self._strike()
            self.reset_number(ident, f.FRAME_SIZE_ERROR)

    def _on_push(self, _flags: int, _ident: int, _payload: bytes) -> None:
        raise ProtocolError(f.PROTOCOL_ERROR, "a client cannot push")

    def _on_goaway(self, _flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "GOAWAY belongs to the connection")
        if len(payload) < 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a GOAWAY frame is too short")


_HANDLERS: Final[dict[int, Any]] = {
    f.PRIORITY: Control._on_priority,
    f.RST_STREAM: Control._on_reset,
    f.SETTINGS: Control._on_settings,
    f.PUSH_PROMISE: Control._on_push,
    f.PING: Control._on_ping,
    f.GOAWAY: Control._on_goaway,
    f.WINDOW_UPDATE: Control._on_window,
}
