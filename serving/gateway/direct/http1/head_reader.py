"""Finds the heads of one HTTP/1.1 connection in what its client sends, and reads them."""

from __future__ import annotations

import string
from typing import Final

from serving.gateway.direct.http1.heads import MAX_HEAD, too_large_head
from serving.gateway.direct.http1.shapes import Shape, Shapes
from serving.gateway.direct.known_heads import BadHead, Head

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~" + (string.ascii_letters + string.digits).encode())


class HeadReader:
    """Reads the heads of one connection, whose last shape comes first.

    Args:
        shapes: what other connections have seen.

    Attributes:
        begun: the beginning of a head whose rest has not come.
        end: where the last head ended in its data.
    """

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._shape: Shape | None = None
        self._raw = b""
        self._head: Head | None = None
        self.begun = b""
        self.end = 0

    def take(self, data: bytes, at: int) -> Head | None:
        """Return what the head from `at` on says; None, and its beginning is kept, without an end.

        Line ends before it mean nothing. What was kept must have been put before the data.

        Raises:
            BadHead: as for `read`; or nothing that begins so can become a head.
        """
        end = data.find(b"\r\n\r\n", at)
        if end < at + 1:
            if data[at : at + 1] in b"\r\n":
                at = len(data) - len(data[at:].lstrip(b"\r\n"))
                end = data.find(b"\r\n\r\n", at)
            if end < 0:
                self._keep(data[at:])
                return None
        self.end = end = end + 4
        head = self.read(data[at:end])
        self.begun = b""
        return head

    def read(self, raw: bytes) -> Head:
        """Return what the head `raw` says; it ends with its empty line.

        Raises:
            BadHead: it is malformed, asks for something that is not offered, or is not let in.
        """
        if raw == self._raw and self._head is not None:
            return self._head
        head = None if self._shape is None else self._shape.fill(raw)
        if head is None:
            self._shape, head = self._shapes.read(raw)
        if self._shape is not None:
            self._raw, self._head = raw, head
        return head

    def _keep(self, data: bytes) -> None:
        if len(data) > MAX_HEAD:
            raise too_large_head()
        if data and data[0] not in _TOKEN:  # TLS, for example: nobody shall wait for its timeout
            raise BadHead(400, "the connection begins with no HTTP; send plain HTTP")
        if b"\n\n" in data or b"\n\r\n" in data:
            raise BadHead(400, "the request is malformed; end lines with CR and LF")
        self.begun = data
