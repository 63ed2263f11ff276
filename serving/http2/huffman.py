"""Huffman-coded strings of HPACK (RFC 7541, section 5.2 and appendix B), decoded byte by byte.

The code is canonical, so the lengths of its codes are all there is to know.
"""

from __future__ import annotations

from typing import Any, Final

_EOS: Final = 256
_LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip


class HuffmanError(ValueError):
    """A string that no encoder writes."""


def _codes() -> dict[tuple[int, int], int]:
    """Return each symbol by the length and the bits of its code."""
    codes, code, before = {}, 0, 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda symbol: (_LENGTHS[symbol], symbol)):
        size = _LENGTHS[symbol]
        code <<= size - before
        codes[size, code] = symbol
        code, before = code + 1, size
    return codes


_CODES: Final = _codes()


_MAY_END: Final = 256
"""Where a row tells whether a string may end there, behind what it tells of each byte."""

Row = list[Any]
"""By the next byte: (the symbols that it completes as text, the row that follows); None: unknown.

Filled as bytes come, because few are ever met.
"""


def _row(size: int, bits: int) -> Row:
    """Return a row for the beginning of a code that has been read so far."""
    # Padding is the beginning of EOS, which is ones, and shorter than a byte.
    row: Row = [None] * _MAY_END + [size < 8 and bits == (1 << size) - 1]
    _ROWS[size, bits] = row
    return row


_ROWS: Final[dict[tuple[int, int], Row]] = {}
_START: Final = _row(0, 0)


def decode(coded: bytes) -> bytes:
    """Return what a string says.

    Raises:
        HuffmanError: it holds the code for its own end, or its padding is wrong.
    """
    row, out = _START, ""
    try:
        for byte in coded:
            symbols, row = row[byte]
            out += symbols
    except TypeError:
        _learn(coded)
        return decode(coded)
    if not row[_MAY_END]:
        raise HuffmanError("the padding of a string is wrong")
    return out.encode("latin-1")


def _learn(coded: bytes) -> None:
    """Fill the rows in with what a string needs."""
    size = bits = 0
    row = _START
    for byte in coded:
        out = ""
        for shift in range(7, -1, -1):
            size, bits = size + 1, bits << 1 | byte >> shift & 1
            symbol = _CODES.get((size, bits))
            if symbol == _EOS:
                raise HuffmanError("a string holds the end of strings")
            if symbol is not None:
                out += chr(symbol)
                size = bits = 0
        following = _ROWS.get((size, bits)) or _row(size, bits)
        row[byte] = out, following
        row = following
