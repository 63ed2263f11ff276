"""HTTP/2 frames (RFC 9113, section 4 and 6): constants, and the few that are written here."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8

LARGEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65535
SMALLEST_FRAME: Final = 16384

_head = struct.Struct(">HBBBI")
read_head: Final = _head.unpack_from
"""Unpack a frame's nine bytes into (length >> 8, length & 255, type, flags, stream)."""
_setting = struct.Struct(">HI")


class ProtocolError(Exception):
    """The peer broke the protocol: the connection ends with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def frame_head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """Return the nine bytes before a payload of `size` bytes."""
    return _head.pack(size >> 8, size & 255, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    size = len(payload)
    return _head.pack(size >> 8, size & 255, kind, flags, stream) + payload


def headers(flags: int, stream: int, block: bytes, most: int) -> bytes:
    """Return a header block in one HEADERS frame, or with CONTINUATION if it is over `most`."""
    if len(block) <= most:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    frames = [frame(HEADERS, flags, stream, block[:most])]
    for at in range(most, len(block), most):
        end = END_HEADERS if at + most >= len(block) else 0
        frames.append(frame(CONTINUATION, end, stream, block[at : at + most]))
    return b"".join(frames)


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(*item) for item in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the identifiers and values of a SETTINGS frame.

    Raises:
        ProtocolError: the payload is not a row of whole settings.
    """
    if len(payload) % 6:
        raise ProtocolError(FRAME_SIZE_ERROR, "a SETTINGS frame is not a multiple of 6 bytes")
    return [(int(key), int(value)) for key, value in _setting.iter_unpack(payload)]


def unpadded(payload: bytes, least: int = 0) -> bytes:
    """Return the payload of a frame with PADDED without its padding; at least `least` bytes.

    Raises:
        ProtocolError: the padding is longer than the frame.
    """
    if len(payload) <= least:
        raise ProtocolError(FRAME_SIZE_ERROR, "a frame is too short")
    if payload[0] >= len(payload) - least:
        raise ProtocolError(PROTOCOL_ERROR, "a frame is shorter than its padding")
    return payload[1 : len(payload) - payload[0]]


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: int, why: str = "") -> bytes:
    """Return a GOAWAY frame."""
    return frame(
        GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + why.encode()[:200]
    )


def literal(name: bytes, value: bytes) -> bytes:
    """Return an HPACK field that leaves the peer's table as it is (RFC 7541, section 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    prefix, rest = bytearray(b"\x7f"), size - 127
    while rest >= 128:
        prefix.append(rest & 127 | 128)
        rest >>= 7
    prefix.append(rest)
    return bytes(prefix) + text
