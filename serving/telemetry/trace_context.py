"""The trace that a request belongs to, as its client sends it (W3C Trace Context, section 3.2)."""

from __future__ import annotations

import re
from typing import Final

TRACEPARENT: Final = b"traceparent"
"""The header, or gRPC metadata, that says it; in lower case."""

_VERSION_00: Final = re.compile(
    rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch


def read_traceparent(value: bytes) -> str:
    """Return a `traceparent` of version 00 that may be passed on; empty for any other value.

    Args:
        value: of the header or the gRPC metadata; empty without one.
    """
    if _VERSION_00(value) is None:
        return ""
    return value.decode("ascii")
