"""Frames of an HTTP/2 client about its connection and its streams (RFC 9113, 6.3 to 6.9).

What is wrong with one ends the stream or the connection, as the section about the frame says.
"""

from __future__ import annotations

from typing import Any, Final

from serving.gateway.direct.http2.intake import Intake
from serving.gateway.direct.http2.open_streams import OpenStreams
from serving.gateway.direct.http2.sender import Sender
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

SETTINGS_WEIGHT: Final = 100
"""A SETTINGS frame counts as so many frames that ask for nothing: it concerns every stream."""


class ControlFrames:
    """Does what the frames of a client ask for that carry no request.

    Args:
        streams: the open streams of the connection.
        sender: writes to the client.
        intake: counts what it spends on nothing.
    """

    def __init__(self, streams: OpenStreams, sender: Sender, intake: Intake) -> None:
        self._streams = streams
        self._sender = sender
        self._intake = intake

    def take(self, kind: int, flags: int, ident: int, payload: bytes) -> None:
        """Do what a frame asks for.

        Raises:
            ProtocolError: it breaks the protocol in a way that ends the connection.
        """
        handler = _HANDLERS.get(kind)
        if handler is not None:  # frames of unknown types are ignored, as the protocol asks
            handler(self, flags, ident, payload)

    def _on_reset(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a RST_STREAM frame is malformed")
        if self._streams.is_idle(ident):
            raise ProtocolError(f.PROTOCOL_ERROR, "a reset of a stream that was never opened")
        self._intake.strike()
        stream = self._streams.by_number.get(ident)
        if stream is not None:
            self._streams.forget(stream)
            stream.lost()
        self._streams.closed.ended(ident)

    def _on_settings(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "SETTINGS belong to the connection")
        if flags & f.ACK:
            if payload:
                raise ProtocolError(f.FRAME_SIZE_ERROR, "an acknowledgement has no payload")
            return
        self._intake.control += SETTINGS_WEIGHT + len(payload) // 6
        self._intake.nothing()
        window = self._sender.initial
        for key, value in f.read_settings(payload):
            if key == f.INITIAL_WINDOW_SIZE:
                if value > f.LARGEST_WINDOW:
                    raise ProtocolError(f.FLOW_CONTROL_ERROR, "a window is too large")
                window = value
            elif key == f.MAX_FRAME_SIZE:
                if not f.SMALLEST_FRAME <= value < 1 << 24:
                    raise ProtocolError(f.PROTOCOL_ERROR, "a frame size is out of range")
                self._sender.max_frame = value
            elif key == f.ENABLE_PUSH and value > 1:
                raise ProtocolError(f.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
            elif key == f.ENABLE_CONNECT_PROTOCOL and value > 1:  # RFC 8441, section 3
                raise ProtocolError(f.PROTOCOL_ERROR, "the setting is neither 0 nor 1")
        self._sender.write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        self._streams.set_window(window)  # once: it looks at every stream

    def _on_ping(self, flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "PING belongs to the connection")
        if len(payload) != 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a PING frame is malformed")
        if not flags & f.ACK:
            self._sender.write(f.frame(f.PING, f.ACK, 0, payload))

    def _on_window(self, _flags: int, ident: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame is malformed")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not ident:
            if not more:
                raise ProtocolError(f.PROTOCOL_ERROR, "a window grows by nothing")
            self._sender.room += more
            if self._sender.room > f.LARGEST_WINDOW:
                raise ProtocolError(f.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._streams.flush_blocked()
            return
        stream = self._streams.by_number.get(ident)
        if stream is None:
            if self._streams.is_idle(ident):
                raise ProtocolError(f.PROTOCOL_ERROR, "a window for a stream that is not open")
            return
        stream.window += more
        if not more or stream.window > f.LARGEST_WINDOW:
            self._intake.strike()
            self._streams.reset(stream, f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR)
        elif stream.waiting:
            self._streams.flush(stream)

    def _on_priority(self, _flags: int, ident: int, payload: bytes) -> None:
        if not ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "PRIORITY belongs to a stream")
        if len(payload) != 5:
            if self._streams.is_idle(ident):  # which must not be reset (section 6.4)
                raise ProtocolError(f.FRAME_SIZE_ERROR, "a PRIORITY frame is malformed")
            self._intake.strike()
            self._streams.reset_number(ident, f.FRAME_SIZE_ERROR)

    def _on_push(self, _flags: int, _ident: int, _payload: bytes) -> None:
        raise ProtocolError(f.PROTOCOL_ERROR, "a client cannot push")

    def _on_goaway(self, _flags: int, ident: int, payload: bytes) -> None:
        if ident:
            raise ProtocolError(f.PROTOCOL_ERROR, "GOAWAY belongs to the connection")
        if len(payload) < 8:
            raise ProtocolError(f.FRAME_SIZE_ERROR, "a GOAWAY frame is too short")


_HANDLERS: Final[dict[int, Any]] = {
    f.PRIORITY: ControlFrames._on_priority,
    f.RST_STREAM: ControlFrames._on_reset,
    f.SETTINGS: ControlFrames._on_settings,
    f.PUSH_PROMISE: ControlFrames._on_push,
    f.PING: ControlFrames._on_ping,
    f.GOAWAY: ControlFrames._on_goaway,
    f.WINDOW_UPDATE: ControlFrames._on_window,
}
