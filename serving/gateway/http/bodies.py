"""Request bodies that come in pieces: read with a bound on size and on memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.errors import InvalidInput, PayloadTooLarge
from serving.gateway.body_budget import Share

_SOME = 1024


async def read_chunks(
    first: bytes,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    limit: int,
    share: Share,
) -> bytes:
    """Return the body that begins with `first`, of which more comes.

    Raises:
        PayloadTooLarge: it is longer than `limit` bytes.
        Overloaded: all bodies together would be too long.
        InvalidInput: the client went away before its end.
    """
    whole: list[bytes] = []
    chunks, size, more = [first], len(first), True
    share.receives(size)
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("the client went away before the body's end")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        share.receives(size)
        chunks.append(chunk)
        if len(chunks) == _SOME:
            # An object per chunk may weigh forty times what is in it.
            whole.append(b"".join(chunks))
            chunks.clear()
        more = message.get("more_body", False)
    return b"".join((*whole, *chunks))


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body over the limit."""
    return PayloadTooLarge(f"the body is over the limit of {limit} bytes; send a smaller one")
