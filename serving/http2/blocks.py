"""Header blocks of one connection (HPACK, RFC 7541): decoded once, then known by their bytes.

After the first messages a peer's blocks are indexes into the connection's table, byte for byte the
same; as long as the table stays as it is, so does what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError

from serving.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ProtocolError

_KEPT: Final = 256
_KEPT_BYTES: Final = 1024
_RESIZES: Final = frozenset(bytes((first,)) for first in range(0x20, 0x40))

Fields = list[tuple[bytes, bytes]]
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
        self._most = most
        self._decoder = Decoder(max_header_list_size=most)
        self._entries = self._decoder.header_table.dynamic_entries
        self._known: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """Return what a whole block says.

        Raises:
            ProtocolError: it cannot be decoded, so that no later one can be either.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        table, kept = self._entries, len(self._known)
        newest, size = (table[0] if table else None), len(table)
        fields = self._decode(block)
        changed = len(table) != size or (table[0] if table else None) is not newest
        changed = changed or block[:1] in _RESIZES
        if changed or kept >= _KEPT:
            self._known.clear()
        understood = self._understand(fields)
        if not changed and len(block) <= _KEPT_BYTES:
            self._known[block] = understood
        return understood

    def fields(self, block: bytes) -> Fields:
        """Return the fields of a block that is like no other.

        Raises:
            ProtocolError: as for `read`.
        """
        self._known.clear()
        return self._decode(block)

    def _decode(self, block: bytes) -> Fields:
        if len(block) > self._most:
            raise ProtocolError(ENHANCE_YOUR_CALM, "the headers are too large")
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise ProtocolError(ENHANCE_YOUR_CALM, "the headers are too large") from None
        except (HPACKError, IndexError, ValueError):
            raise ProtocolError(COMPRESSION_ERROR, "a header block cannot be decoded") from None
        return [(bytes(name), bytes(value)) for name, value in fields]
