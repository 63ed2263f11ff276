"""Compression in both directions: bounded for what clients send, where it pays for answers."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from serving.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia

# zlib's window bits: 31 means a gzip header, 15 a zlib one (which HTTP and gRPC call deflate).
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
ENCODINGS: Final = ("gzip", "deflate")
"""What answers can be compressed with, the preferred one first."""

WORTH_IT: Final = 4096
"""Bytes below which answers stay as they are: they travel in one burst of packets anyway, and
compressing one costs more time than answering it."""

# Bytes of an element of what is noise to a compressor: 600 kB of it took nine times as long to
# answer, and were 7 % smaller.
_FLOATS: Final = {"FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8}

OFF_LOOP: Final = 64 << 10
"""Bytes from which compression runs in a thread: 64 kB of JSON take about a millisecond, for which
every other request would wait."""

# A body shrinks to a thousandth at most, so that this much unpacks in some milliseconds.
_UNPACK_OFF_LOOP: Final = 16 << 10
# Tensors are noise to a compressor; higher levels cost five times as much and save a tenth.
_LEVEL: Final = 1


async def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the decompressed body; what may take long is done in a thread.

    Raises:
        UnsupportedMedia, PayloadTooLarge, InvalidInput: as for `decompress`.
    """
    if len(body) < _UNPACK_OFF_LOOP:
        return decompress(body, encoding, limit)
    return await asyncio.to_thread(decompress, body, encoding, limit)


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


class Described(Protocol):
    """A tensor of an answer: ours, or the message of one."""

    @property
    def datatype(self) -> str: ...  # noqa: D102

    @property
    def shape(self) -> Sequence[int]: ...  # noqa: D102


def pays(size: int, binary: Iterable[Described]) -> bool:
    """Whether an inference answer of `size` bytes is worth compressing.

    `binary` are the tensors that may lie in it as they do in memory rather than as text. Where
    half of the answer are such floats, it stays as it is.
    """
    if size < WORTH_IT:
        return False
    floats = sum(math.prod(t.shape) * _FLOATS.get(t.datatype, 0) for t in binary)
    return 2 * floats < size


async def pack(body: bytes, encoding: str, *, even_if_larger: bool = False) -> bytes | None:
    """Return the compressed body, or None if it would not be smaller; large ones in a thread."""
    if len(body) < OFF_LOOP:
        packed = _compress(body, encoding)
    else:
        packed = await asyncio.to_thread(_compress, body, encoding)
    return packed if even_if_larger or len(packed) < len(body) else None


def _compress(body: bytes, encoding: str) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW[encoding])
    return stream.compress(body) + stream.flush()


@lru_cache(maxsize=256)
def choose(accepted: bytes) -> tuple[str | None, bool]:
    """Read an `Accept-Encoding` header as RFC 9110, section 12.5.3, defines it.

    Returns:
        The encoding that the client likes best of those offered here (None: none of them, or no
        encoding at all is liked better), and whether an answer may be left as it is.
    """
    weights: dict[str, float] = {}
    for item in accepted.decode("latin-1").lower().split(","):
        name, _, parameters = item.partition(";")
        name = name.strip().replace("x-gzip", "gzip")
        weights[name] = _weight(parameters)
    rest = weights.get("*", 0.0)
    # Not named, identity is acceptable, but any encoding that is named is liked better.
    plain_allowed = weights.get("identity", rest if "*" in weights else 1.0) > 0
    best = max(ENCODINGS, key=lambda name: weights.get(name, rest))
    liked = weights.get(best, rest)
    if liked <= 0 or (plain_allowed and liked < weights.get("identity", 0.0)):
        return None, plain_allowed
    return best, plain_allowed


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
