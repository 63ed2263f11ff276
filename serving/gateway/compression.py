"""Bounded decompression: what a client compressed may not grow beyond the body limit."""

from __future__ import annotations

import zlib

from serving.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia

# zlib's window bits: 31 reads a gzip header, 15 a zlib one (which HTTP calls deflate).
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the decompressed body.

    Raises:
        UnsupportedMedia: `encoding` is neither gzip, deflate nor identity.
        PayloadTooLarge: it grows beyond `limit` bytes.
        InvalidInput: it is not what it says it is.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    window = _WINDOW.get(encoding)
    if window is None:
        raise UnsupportedMedia(
            f"content-encoding '{encoding[:40]}' is not supported; use gzip, deflate or none"
        )
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not valid {encoding}") from None
    if len(plain) > limit:
        raise PayloadTooLarge(
            f"the body grows beyond the limit of {limit} bytes; send a smaller one"
        )
    if not stream.eof:
        raise InvalidInput(f"the {encoding} body ends too early")
    if stream.unused_data:  # ignored, it would be half of the client's request
        raise InvalidInput(f"data is left after the {encoding} body; send it as one member")
    return plain
