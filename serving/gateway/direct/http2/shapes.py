"""Heads of HTTP/2 requests known by their shape, and the reader of one connection.

The shape of a block is what its fields are once the table has been looked up, so it stays the same
when a client puts each request's id into the table and all indexes move.
"""

from __future__ import annotations

from typing import Final

from serving.access.principals import CREDENTIAL
from serving.access.web import WebAccess
from serving.gateway.direct.fields import BLANKS, LEGAL, MOST_KEPT, STEADY, text
from serving.gateway.direct.http1.heads import MAX_HEAD
from serving.gateway.direct.http2.headers import check_fields, understood
from serving.gateway.direct.known_heads import Head2, Steady
from serving.gateway.grpc.deadline import NO_TIMEOUT, timeout_seconds
from serving.http2.blocks import decoded
from serving.http2.hpack import Decoder, Field, Fields
from serving.protocol.recent import Recent
from serving.telemetry.trace_context import TRACEPARENT

_KEPT_BYTES: Final = 2048
_KEPT_SHAPES: Final = 512
_READ: Final = (b"content-length", b"grpc-timeout", b"x-forwarded-for", TRACEPARENT, CREDENTIAL)

Key = list[Field | bytes]
"""Fields that belong to a shape, and the names of the others."""


class Shape2:
    """What heads of one client have in common.

    Args:
        key: a block's fields.
        head: what the block says.
    """

    def __init__(self, key: Key, head: Head2) -> None:
        self.key = key
        names = [part for part in key if isinstance(part, bytes)]
        places = [names.index(name) if name in names else -1 for name in _READ]
        self._length_at, self._timeout_at, self._forwarded_at = places[:3]
        self._trace_at, self._credential_at = places[3:]
        self.is_plain = all(names.count(name) < 2 for name in _READ)
        """Whether each value that is read has one place."""
        steady = head.steady
        headers = [(n, v if n in STEADY else None) for n, v in steady.headers]
        self._steady = Steady(steady.method, steady.path, steady.query, "2", headers)
        # A call whose timeout is none goes another way, which is no shape's.
        self.is_plain = self.is_plain and head.timeout_s != NO_TIMEOUT
        self._head = head

    def fill(self, values: list[bytes]) -> Head2 | None:
        """Return what a head of this shape says; None for a wrong value."""
        if b"".join(values).translate(None, LEGAL):
            return None
        for value in values:
            if value != value.strip(BLANKS):
                return None
        head = self._head
        length, timeout_s, forwarded = head.length, head.timeout_s, head.forwarded
        if self._length_at >= 0:
            digits = values[self._length_at]
            if not digits.isdigit() or len(digits) > 19:
                return None
            length = int(digits)
        if self._timeout_at >= 0:
            timeout_s = timeout_seconds(values[self._timeout_at])
            if timeout_s == NO_TIMEOUT:
                return None
        if self._forwarded_at >= 0:
            forwarded = text(values[self._forwarded_at])
        trace = b"" if self._trace_at < 0 else values[self._trace_at]
        credential = b"" if self._credential_at < 0 else values[self._credential_at]
        return Head2(
            self._steady,
            values,
            length,
            head.grpc,
            head.infer,
            timeout_s,
            head.problem,
            forwarded,
            trace,
            credential,
        )


class Shapes2:
    """The shapes that all connections of one loop have seen lately.

    Args:
        access: judges who is let in.
    """

    def __init__(self, access: WebAccess | None = None) -> None:
        self._access = access or WebAccess()
        self._recent: Recent[tuple[Field | bytes, ...], Shape2] = Recent(_KEPT_SHAPES)

    def read(self, key: Key, values: list[bytes], fields: Fields) -> tuple[Shape2 | None, Head2]:
        """Return what a block says, and its shape where that can be kept.

        Raises:
            MalformedHead: the protocol forbids it.
        """
        wanted = tuple(key)
        shape = self._recent[wanted]
        filled = None if shape is None else shape.fill(values)
        if filled is not None:
            return shape, filled
        head = understood(fields, self._access)
        if shape is not None or len(fields) > MOST_KEPT:
            return None, head
        if sum(len(name) + len(value) for name, value in fields) > _KEPT_BYTES:
            return None, head
        shape = Shape2(key, head)
        if not shape.is_plain:
            return None, head
        self._recent[wanted] = shape
        return shape, head


class HeadReader2:
    """Decodes the blocks of one connection, whose last shape comes first.

    Args:
        shapes: what other connections have seen.
    """

    def __init__(self, shapes: Shapes2) -> None:
        self._shapes = shapes
        self._decoder = Decoder(MAX_HEAD)
        self._shape: Shape2 | None = None
        self._block = b""
        self._changes = -1
        """State of the table in which the last block was read."""
        self._head: Head2 | None = None

    def read(self, block: bytes) -> Head2:
        """Return what a whole header block says.

        Raises:
            MalformedHead: it is well encoded and not allowed.
            ProtocolError: it cannot be decoded, so that no later one can be either.
        """
        decoder = self._decoder
        changes = decoder.changes
        if block == self._block and changes == self._changes and self._head is not None:
            return self._head
        fields = decoded(decoder, block, MAX_HEAD)
        key: Key = []
        values = []
        for field in fields:
            name, value = field
            if name in STEADY:
                key.append(field)
            else:
                key.append(name)
                values.append(value)
        shape = self._shape
        head = shape.fill(values) if shape is not None and shape.key == key else None
        if head is None:
            self._shape, head = self._shapes.read(key, values, fields)
        if self._shape is not None:  # where the block has moved the table, nothing is known by it
            self._block, self._head, self._changes = block, head, changes
        return head

    def skip(self, block: bytes) -> None:
        """Decode trailers, which change the table and say nothing that is needed.

        Raises:
            MalformedHead, ProtocolError: as for `read`.
        """
        check_fields(decoded(self._decoder, block, MAX_HEAD))
