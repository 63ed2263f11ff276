"""Heads of HTTP/1.1 requests known by their shape, so that most need no parsing.

Heads of one client differ in a request's id, a trace's, a length. What stands between such values
is the same bytes each time: it is compared, the values are cut out and checked, and all else that a
strict reader has once found is taken as it was.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from serving.access.principals import CREDENTIAL
from serving.access.web import WebAccess
from serving.gateway.direct.fields import BLANKS, LEGAL, MOST_KEPT, STEADY, TOKEN, VALUE, text
from serving.gateway.direct.http1.heads import JSON_LENGTH, MAX_HEAD, REQUEST_ID, parse
from serving.gateway.direct.known_heads import Head, InferHead, Steady
from serving.protocol.recent import Recent
from serving.telemetry.trace_context import TRACEPARENT

_KEPT_BYTES: Final = 2048
_KEPT_LINES: Final = 512
_KEPT_SHAPES: Final = 8
"""Of each request line: whoever sends ever new ones takes the last place only."""

_FIELD: Final = re.compile(rb"\r\n(%b+):[ \t]*(%b*)" % (TOKEN, VALUE))
_READ: Final = (
    b"content-length", JSON_LENGTH, REQUEST_ID, b"x-forwarded-for", TRACEPARENT, CREDENTIAL,
)  # fmt: skip


class Shape:
    """What heads of one client have in common.

    Args:
        raw: a head.
        head: what it says.
    """

    def __init__(self, raw: bytes, head: Head) -> None:
        found = [field for field in _FIELD.finditer(raw) if field[1].lower() not in STEADY]
        starts = [field.start(2) for field in found] + [len(raw)]
        ends = [0] + [field.end(2) for field in found]
        self._first, *self._pieces = (raw[a:b] for a, b in zip(ends, starts, strict=True))
        self._begin = len(self._first)
        names = [field[1].lower() for field in found]
        places = [names.index(name) if name in names else -1 for name in _READ]
        self._length_at, self._json_at, self._request_at = places[:3]
        self._forwarded_at, self._trace_at, self._credential_at = places[3:]
        self.is_plain = all(names.count(name) < 2 for name in _READ)
        """Whether each value that is read has one place."""
        steady = head.steady
        headers = [(n, v if n in STEADY else None) for n, v in steady.headers]
        self._steady = Steady(steady.method, steady.path, steady.query, steady.version, headers)
        self._head = head

    def fill(self, raw: bytes) -> Head | None:
        """Return what a head of this shape says; None for any other, and for a wrong value."""
        if not raw.startswith(self._first):
            return None
        at, values = self._begin, []
        for piece in self._pieces:
            end = raw.find(piece, at)
            if end < 0:
                return None
            values.append(raw[at:end])
            at = end + len(piece)
        # A value with a line's end in it is not legal, so none hides another field.
        if at != len(raw) or at > MAX_HEAD or b"".join(values).translate(None, LEGAL):
            return None
        head = self._head
        length = head.length
        if self._length_at >= 0:
            digits = values[self._length_at]
            if not digits.isdigit() or len(digits) > 19:
                return None  # perhaps with blanks around it
            length = int(digits)
        forwarded, infer = head.forwarded, head.infer
        if self._forwarded_at >= 0:
            forwarded = text(values[self._forwarded_at])
        if infer is not None:
            json_at, request_at = self._json_at, self._request_at
            trace_at, credential_at = self._trace_at, self._credential_at
            infer = InferHead(
                infer.model,
                infer.version,
                None if json_at < 0 else text(values[json_at]),
                None if request_at < 0 else text(values[request_at]),
                infer.packs,
                b"" if trace_at < 0 else values[trace_at].strip(BLANKS),
                b"" if credential_at < 0 else values[credential_at].strip(BLANKS),
            )
        return Head(self._steady, values, length, head.keep_alive, head.expects, forwarded, infer)


class Shapes:
    """The shapes that all connections of one loop have seen lately.

    Args:
        access: judges who is let in.
        cors: whether web pages are answered with more headers; then they take the long path.
    """

    def __init__(self, access: WebAccess | None = None, *, cors: bool = False) -> None:
        self._access = access or WebAccess()
        self._cors = cors
        self._recent: Recent[bytes, list[Shape]] = Recent(_KEPT_LINES)

    def read(self, raw: bytes) -> tuple[Shape | None, Head]:
        """Return what a head says, and its shape where that can be kept.

        Raises:
            BadHead: as for `heads.parse`.
        """
        line = raw[: raw.find(b"\r\n")]
        known = self._recent[line] or []
        for at, shape in enumerate(known):
            filled = shape.fill(raw)
            if filled is not None:
                known.insert(0, known.pop(at))
                return shape, filled
        head = parse(raw, self._access)
        if self._cors and any(name == b"origin" for name, _ in head.headers):
            head = msgspec.structs.replace(head, infer=None)
        if len(raw) > _KEPT_BYTES or len(head.steady.headers) > MOST_KEPT:
            return None, head
        shape = Shape(raw, head)
        if not shape.is_plain:
            return None, head
        if not known:
            self._recent[line] = known
        known[_KEPT_SHAPES - 1 :] = [shape]
        return shape, head
