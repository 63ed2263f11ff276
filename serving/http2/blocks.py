"""Header blocks of one connection (HPACK, RFC 7541): decoded once, then known by their bytes.

After the first messages a peer's blocks are indexes into the connection's table, byte for byte the
same; as long as the table stays as it is, so does what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from serving.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ProtocolError
from serving.http2.hpack import Decoder, Fields, HpackError, TooLarge

_KEPT: Final = 256
_KEPT_BYTES: Final = 1024

T = TypeVar("T")


class BlockReader(Generic[T]):
    """Decodes the blocks that come in on one connection.

    Args:
        understand: makes of fields what is wanted; the same for equal fields. What it raises,
            `read` raises too, and the next block can be read.
        most: bytes that a block may have, encoded and decoded.
    """

    def __init__(self, understand: Callable[[Fields], T], most: int) -> None:
        self._understand = understand
        self._decoder = Decoder(most)
        self._most = most
        self._known: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """Return what a whole block says.

        Raises:
            ProtocolError: it cannot be decoded, so that no later one can be either.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._decoder.changes
        fields = decoded(self._decoder, block, self._most)
        changed = self._decoder.changes != before
        if changed or len(self._known) >= _KEPT:
            self._known.clear()
        understood = self._understand(fields)
        if not changed and len(block) <= _KEPT_BYTES:
            self._known[block] = understood
        return understood


def decoded(decoder: Decoder, block: bytes, most: int) -> Fields:
    """Return the fields of a block; `most` is how many bytes it may have, encoded.

    Raises:
        ProtocolError: it cannot be decoded, so that no later one can be either.
    """
    if len(block) > most:
        raise ProtocolError(ENHANCE_YOUR_CALM, "the headers are too large")
    try:
        return decoder.decode(block)
    except TooLarge:
        raise ProtocolError(ENHANCE_YOUR_CALM, "the headers are too large") from None
    except HpackError:
        raise ProtocolError(COMPRESSION_ERROR, "a header block cannot be decoded") from None
