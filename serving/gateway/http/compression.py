"""Compression in both directions: bounded for what clients send, where it pays for answers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Final, Protocol

from serving.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from serving.gateway.body_budget import Share
from serving.gateway.threads import in_thread

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
_PIECE: Final = 4 << 20
"""Bytes that are unpacked before they are charged and the client is looked after."""
_INPUT: Final = 256 << 10
# Tensors are noise to a compressor; higher levels cost five times as much and save a tenth.
_LEVEL: Final = 1


async def unpack(body: bytes, encoding: str, limit: int, share: Share) -> bytes:
    """Return the decompressed body; what may take long is done in a thread, piece by piece.

    Raises:
        UnsupportedMedia: `encoding` is neither gzip, deflate nor identity.
        PayloadTooLarge: it grows beyond `limit` bytes.
        InvalidInput: it is not what it says it is.
        Overloaded: all bodies together would be too long.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    window = _WINDOW.get(encoding)
    if window is None:
        raise UnsupportedMedia(
            f"content-encoding '{encoding[:40]}' is not supported; use gzip, deflate or none"
        )
    short = len(body) < _UNPACK_OFF_LOOP
    unpacking = _Unpacking(memoryview(body), encoding, window, limit)
    whole = False
    while not whole:
        before = unpacking.size
        whole = unpacking.go_on() if short else await in_thread(_Unpacking.go_on, unpacking)
        share.require(len(body) + unpacking.size)
        share.add(unpacking.size - before)
    return unpacking.plain()


class _Unpacking:
    """A body that is unpacked piece by piece, so that nobody pays for all of it unasked.

    Args:
        body: compressed.
        encoding: its name, for messages.
        window: zlib's window bits.
        limit: most bytes of the result.

    Attributes:
        size: bytes that there are so far.
    """

    def __init__(self, body: memoryview, encoding: str, window: int, limit: int) -> None:
        self._body = body
        self._encoding = encoding
        self._limit = limit
        self._stream = zlib.decompressobj(window)
        self._pieces: list[bytes] = []
        self.size = 0

    def go_on(self) -> bool:
        """Unpack one more piece; whether it was the last one.

        Raises:
            PayloadTooLarge, InvalidInput: as for `unpack`.
        """
        most = min(_PIECE, self._limit + 1 - self.size)
        # What the stream does not take of its input is copied: so it gets little at once.
        rest = self._stream.unconsumed_tail
        more: bytes | memoryview = rest
        while not self._stream.eof and most > 0:
            if not more:
                more, self._body = self._body[:_INPUT], self._body[_INPUT:]
                if not more:
                    raise InvalidInput(f"the {self._encoding} body ends too early")
            try:
                piece = self._stream.decompress(more, most)
            except zlib.error:
                raise InvalidInput(f"the body is not valid {self._encoding}") from None
            more = self._stream.unconsumed_tail
            if piece:
                self._pieces.append(piece)
                self.size += len(piece)
                most -= len(piece)
        if self.size > self._limit:
            raise PayloadTooLarge(
                f"the body grows beyond the limit of {self._limit} bytes; send a smaller one"
            )
        if self._stream.eof and (self._stream.unused_data or self._body):
            # Ignored, it would be half of the client's request.
            raise InvalidInput(
                f"data is left after the {self._encoding} body; send it as one member"
            )
        return self._stream.eof

    def plain(self) -> bytes:
        """Return the whole result."""
        return b"".join(self._pieces)


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
        packed = await in_thread(partial(_compress, encoding=encoding), body)
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
