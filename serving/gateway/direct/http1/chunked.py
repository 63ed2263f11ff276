"""Chunked bodies of HTTP/1.1 (RFC 9112, section 7.1), read strictly and with bounds."""

from __future__ import annotations

import re
from typing import Final

from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.known_heads import BadHead
from serving.gateway.direct.time_slices import SAMPLE, TimeSlices
from serving.gateway.http.bodies import too_large

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00\r\n]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r\n")
_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16 << 10


class ChunkedBody:
    """Collects one body from whatever pieces it arrives in.

    Args:
        limit: most bytes of the body.
        slices: asked while many chunks are read whether the turn is over.
    """

    def __init__(self, limit: int, slices: TimeSlices) -> None:
        self._limit = limit
        self._slices = slices
        self._rest = b""
        self._pieces = BodyBuffer()
        self._missing = 0
        """Bytes of the current chunk that have not come, with the two that end it."""
        self._trailers = -1
        """Bytes of trailers so far; -1 before the last chunk."""
        self._size = 0
        self.left = b""

    @property
    def size(self) -> int:
        """Bytes of the body so far, all of a chunk as soon as it has begun."""
        return self._size

    @property
    def body(self) -> bytes:
        """The body so far."""
        return self._pieces.join()

    def feed(self, data: bytes) -> bool:
        """Take in data; True at the end of the body.

        `left` is then what came after it. Before the end it is what there was no time for, which is
        to be fed again in a later turn.

        Raises:
            BadHead: the chunks are malformed (400) or too many bytes (413).
        """
        data = self._rest + data if self._rest else data
        self._rest = self.left = b""
        slices = self._slices
        at = 0
        while True:
            slices.spent += 1
            if slices.spent >= SAMPLE and at < len(data) and slices.over():
                self.left = data[at:]
                return False
            if self._missing:
                at = self._take(data, at)
                if self._missing:
                    break
            end = data.find(b"\n", at)
            if end < 0:
                break
            line, at = data[at : end + 1], end + 1
            if line[-2:] != b"\r\n" or len(line) > _MAX_LINE:
                raise _bad()
            if self._trailers >= 0:
                self._trailers += len(line)
                if line == b"\r\n":
                    self.left = data[at:]
                    return True
                if self._trailers > _MAX_TRAILERS or not _TRAILER.fullmatch(line):
                    raise _bad()
                continue
            self._begin(line[:-2])
        self._rest = data[at:]
        if not self._missing and len(self._rest) > _MAX_LINE:
            raise _bad()
        return False

    def _begin(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise _bad()
        size = int(found[1], 16)
        if size == 0:
            self._trailers = 0
            return
        self._size += size
        if self._size > self._limit:
            raise BadHead(413, too_large(self._limit).message)
        self._missing = size + 2

    def _take(self, data: bytes, at: int) -> int:
        """Take the rest of the current chunk, and the line end after it, from `data`."""
        content = min(self._missing - 2, len(data) - at)
        if content > 0:
            self._pieces.add(data[at : at + content])
            self._missing -= content
            at += content
        if self._missing <= 2:
            if len(data) - at < 2:
                return at
            if data[at : at + 2] != b"\r\n":
                raise _bad()
            self._missing = 0
            at += 2
        return at


def _bad() -> BadHead:
    return BadHead(400, "the chunks of the body are malformed; send each with its size in hex")
