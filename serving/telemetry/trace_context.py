"""The trace that a request belongs to, as its client sends it (W3C Trace Context, section 3.2)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

TRACEPARENT: Final = b"traceparent"
"""The header, or gRPC metadata, that says it; in lower case."""

_VERSION_00: Final = re.compile(
    rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch


class SpanIds(msgspec.Struct, frozen=True, gc=False):
    """Where a span that is recorded belongs.

    Attributes:
        trace: the trace's id, 128 bits.
        span: its own id, 64 bits.
        parent: of the span that it is part of; 0 where the trace begins with it.
    """

    trace: int
    span: int
    parent: int = 0

    @property
    def traceparent(self) -> str:
        """The W3C value for whoever is asked within this span."""
        return f"00-{self.trace:032x}-{self.span:016x}-01"


class RequestSpan(SpanIds, frozen=True, gc=False):
    """The span of a request, and where the request was sent.

    Attributes:
        path: of its URL, if it came by HTTP.
    """

    path: str = ""


def read_traceparent(value: bytes) -> str:
    """Return a `traceparent` of version 00 that may be passed on; empty for any other value.

    Args:
        value: of the header or the gRPC metadata; empty without one.
    """
    if _VERSION_00(value) is None:
        return ""
    return value.decode("ascii")


def parent_of(value: bytes) -> tuple[int, int, bool] | None:
    """Return the trace's id, the caller's span and whether it is recorded; None if unreadable.

    Args:
        value: as for `read_traceparent`.
    """
    if _VERSION_00(value) is None:
        return None
    return int(value[3:35], 16), int(value[36:52], 16), bool(int(value[53:], 16) & 1)
