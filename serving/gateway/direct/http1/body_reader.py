"""The body of one HTTP/1.1 request that does not come in one piece with its head."""

from __future__ import annotations

from serving.gateway.direct.body_buffer import BodyBuffer
from serving.gateway.direct.http1.chunked import ChunkedBody
from serving.gateway.direct.known_heads import BadHead
from serving.gateway.direct.time_slices import TimeSlices
from serving.gateway.http.bodies import too_large


class BodyReader:
    """Collects the bodies of one connection, one after the other.

    Args:
        limit: most bytes of a body.
        slices: asked while chunks are read whether the turn is over.

    Attributes:
        missing: bytes of a body of known length that have not come.
        end: where a body of known length ends in its last data.
        left: what came behind chunks, or what there was no time for.
        size: bytes of a body in chunks so far, all of a chunk as soon as it has begun.
    """

    def __init__(self, limit: int, slices: TimeSlices) -> None:
        self._limit = limit
        self._slices = slices
        self._pieces = BodyBuffer()
        self._chunks: ChunkedBody | None = None
        self.missing = self.end = self.size = 0
        self.left = b""

    def expect(self, length: int | None) -> None:
        """Begin a body; None: it comes in chunks.

        Raises:
            BadHead: it is too long (413).
        """
        if length is None:
            self._chunks = ChunkedBody(self._limit, self._slices)
        elif length > self._limit:
            raise BadHead(413, too_large(self._limit).message)
        else:
            self.missing = length

    def add(self, data: bytes) -> bool:
        """Take in a piece from the middle of a body of known length; False if it is none."""
        if self.missing <= len(data):
            return False
        self._pieces.add(data)
        self.missing -= len(data)
        return True

    def take(self, data: bytes, at: int) -> bytes | None:
        """Take in data from `at` on; return the body once it is whole.

        Raises:
            BadHead: chunks are malformed (400) or too long (413).
        """
        chunks = self._chunks
        if chunks is not None:
            whole = chunks.feed(data[at:] if at else data)
            self.left, self.end, self.size = chunks.left, len(data), chunks.size
            if not whole:
                return None
            self._chunks = None
            return chunks.body
        self.end = end = at + self.missing
        self.size, self.left = 0, b""
        if len(data) < end:
            self._pieces.add(data[at:] if at else data)
            self.missing -= len(data) - at
            return None
        self._pieces.add(data[at:end])
        body = self._pieces.join()
        self._pieces = BodyBuffer()
        self.missing = 0
        return body

    def drop(self) -> None:
        """Give up what has come: nobody wants it any more."""
        self._chunks = None
        self._pieces = BodyBuffer()
        self.missing = 0
        self.left = b""
