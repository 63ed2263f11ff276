"""Answers that come compressed. We do not ask for that, and some servers do it all the same."""

from __future__ import annotations

import zlib
from typing import Final

MOST: Final = 1 << 30
"""Bytes of an answer; the channel to the gateway carries no more either."""

_GZIP_OR_ZLIB: Final = 47


def unpacked(packed: bytes, encoding: str) -> bytes:
    """Return what was compressed.

    Raises:
        ValueError: it cannot be unpacked; says why.
    """
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"its answer is compressed as '{encoding[:40]}', which nobody asked for")
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        message = inflate.decompress(packed, MOST)
    except zlib.error as error:
        raise ValueError(f"its compressed answer is damaged: {error}") from None
    if not inflate.eof:
        raise ValueError(f"its compressed answer is cut off, or over {MOST} bytes")
    return message
