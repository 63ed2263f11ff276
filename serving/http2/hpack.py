"""Decoder of HPACK header blocks (RFC 7541), made for the request path.

One pass over a block with few calls: fields that stand in a table are the same tuples each time.
"""

from __future__ import annotations

from typing import Final

from serving.http2.huffman import HuffmanError, decode

Field = tuple[bytes, bytes]
Fields = list[Field]

TABLE_SIZE: Final = 4096
"""Bytes of the dynamic table that a peer may use: what HTTP/2 begins with."""
OVERHEAD: Final = 32
"""What a field counts beside its bytes (section 4.1)."""

_CONTINUED: Final = 4
"""Bytes after the first of an integer; more are a number that nothing here can be."""

_VALUES: Final = {
    b":authority": (b"",), b":method": (b"GET", b"POST"), b":path": (b"/", b"/index.html"),
    b":scheme": (b"http", b"https"),
    b":status": (b"200", b"204", b"206", b"304", b"400", b"404", b"500"), b"accept-charset": (b"",),
    b"accept-encoding": (b"gzip, deflate",),
}  # fmt: skip
_NAMES: Final = (
    b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
    b"cache-control content-disposition content-encoding content-language content-length "
    b"content-location content-range content-type cookie date etag expect expires from host "
    b"if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link "
    b"location max-forwards proxy-authenticate proxy-authorization range referer refresh "
    b"retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary "
    b"via www-authenticate"
).split()
STATIC: Final[tuple[Field, ...]] = (
    *((name, value) for name, values in _VALUES.items() for value in values),
    *((name, b"") for name in _NAMES),
)
"""Appendix A; the first has index 1."""
_DYNAMIC: Final = len(STATIC) + 1
_NEWEST: Final = _DYNAMIC - 1
"""Less an index of the dynamic table: its place, from the end."""
_LONGEST_STATIC: Final = 64


class HpackError(Exception):
    """A block that cannot be decoded, so that no later one can be either."""


class TooLarge(HpackError):
    """A block of more fields than are taken."""


class Decoder:
    """Decodes the blocks of one connection, one after the other.

    Args:
        most: bytes that the fields of a block may have, 32 added for each.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._table: Fields = []  # the newest is the last
        self._size = 0
        self._capacity = TABLE_SIZE
        self._longest = _LONGEST_STATIC
        """Bytes that no field in a table has been longer than."""
        self.changes = 0
        """Grows with every change of the table: while it stays, blocks keep their meaning."""

    def decode(self, block: bytes) -> Fields:
        """Return the fields of a whole block.

        Raises:
            TooLarge: there are too many.
            HpackError: it is malformed.
        """
        # One function on purpose: a call for each field would cost as much as all the rest.
        table, fields = self._table, []
        # A string has at most 8 bytes for 5 of its Huffman code.
        largest = self._longest + 2 * len(block) + OVERHEAD
        at, end = 0, len(block)
        try:
            while at < end:
                first = block[at]
                at += 1
                if first >= 0x80:
                    if 0xBE <= first < 0xFF:  # in the dynamic table, where index 62 is the newest
                        fields.append(table[0xBD - first])
                    elif 0x80 < first < 0xBE:
                        fields.append(STATIC[first - 0x81])
                    else:
                        index, at = _integer(block, at, 0x7F) if first == 0xFF else (0, at)
                        fields.append(self._entry(index))
                elif first & 0x60 == 0x20:
                    if fields:
                        raise HpackError("the table's size changes within a block")
                    size, at = _integer(block, at, 31) if first == 0x3F else (first & 31, at)
                    self._resize(size)
                else:
                    mask = 0x3F if first & 0x40 else 0x0F
                    index = first & mask
                    if index == mask:
                        index, at = _integer(block, at, mask)
                    if index:
                        entry = STATIC[index - 1] if index < _DYNAMIC else table[_NEWEST - index]
                        name = entry[0]
                    elif block[at] < 0x7F:
                        until = at + 1 + block[at]
                        name = block[at + 1 : until]
                        at = until
                    else:
                        name, at = _text(block, at)
                    size = block[at]
                    if size & 0x7F != 0x7F:  # nearly all values; others cost a call, as above
                        until = at + 1 + (size & 0x7F)
                        value = block[at + 1 : until]
                        at = until
                        if size & 0x80:
                            value = decode(value)
                    else:
                        value, at = _text(block, at)
                    field = name, value
                    fields.append(field)
                    if first & 0x40:
                        self.changes += 1
                        table.append(field)
                        size = len(name) + len(value)
                        if size > self._longest:
                            self._longest = size
                        self._size += size + OVERHEAD
                        if self._size > self._capacity:
                            self._evict()
        except (IndexError, HuffmanError):
            raise HpackError("a header block is malformed") from None
        if at > end:
            raise HpackError("a header block ends early")
        if len(fields) * largest > self._most:  # else it cannot be too large
            self._measure(fields)
        return fields

    def _measure(self, fields: Fields) -> None:
        size = sum(len(name) + len(value) for name, value in fields)
        if size + OVERHEAD * len(fields) > self._most:
            raise TooLarge("the fields of a header block are too large")

    def _entry(self, index: int) -> Field:
        if index < _DYNAMIC:
            if not index:
                raise HpackError("a field has index 0")
            return STATIC[index - 1]
        return self._table[_NEWEST - index]

    def _evict(self) -> None:
        """Drop the oldest entries until the rest has room; perhaps all (section 4.4)."""
        size, gone = self._size, 0
        for name, value in self._table:
            if size <= self._capacity:
                break
            size -= len(name) + len(value) + OVERHEAD
            gone += 1
        del self._table[:gone]
        self._size = size

    def _resize(self, size: int) -> None:
        if size > TABLE_SIZE:
            raise HpackError("the table is made larger than is allowed")
        self.changes += 1
        self._capacity = size
        self._evict()


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Return a number that did not fit into its prefix, and where it ends (section 5.1)."""
    for shift in range(0, 7 * _CONTINUED, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HpackError("a number is too large")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """Return a string and where it ends (section 5.2)."""
    first = block[at]
    size, at = first & 0x7F, at + 1
    if size == 0x7F:
        size, at = _integer(block, at, size)
    text, end = block[at : at + size], at + size
    if end > len(block):
        raise HpackError("a string ends early")
    return (decode(text) if first & 0x80 else text), end
