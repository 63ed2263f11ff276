"""Huffman-coded strings against the hpack package, and those that no encoder writes."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from serving.http2.huffman import HuffmanError, decode

EOS = "1" * 30
ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def bits(symbol: int) -> str:
    return f"{REQUEST_CODES[symbol]:0{REQUEST_CODES_LENGTH[symbol]}b}"


def packed(code: str) -> bytes:
    """Return bits as bytes; they must be whole ones."""
    assert len(code) % 8 == 0
    return int(code, 2).to_bytes(len(code) // 8, "big")


def test_each_byte_has_the_code_of_the_standard() -> None:
    every = [bytes((symbol,)) for symbol in range(256)]
    assert [decode(ENCODER.encode(each)) for each in every] == every


@given(st.binary(max_size=300))
def test_what_an_encoder_writes(text: bytes) -> None:
    coded = ENCODER.encode(text)
    assert decode(coded) == text
    assert decode(coded) == text  # what is known by now gives the same


def test_nothing_is_the_empty_string() -> None:
    assert decode(b"") == b""


@pytest.mark.parametrize("pad", range(8))
def test_padding_is_ones_and_shorter_than_a_byte(pad: int) -> None:
    # "0" has five bits, "-" six and "A" six: together any number of bits is left for padding.
    texts = [b"0" * n + b"-" * m for n in range(8) for m in range(8)]
    text = next(t for t in texts if -sum(len(bits(c)) for c in t) % 8 == pad)
    code = "".join(bits(symbol) for symbol in text)
    assert len(code + "1" * pad) % 8 == 0
    assert decode(packed(code + "1" * pad) if code else b"") == text
    wrong = ["1" * at + "0" + "1" * (pad - at - 1) for at in range(pad)] if pad else ["1" * 8]
    for padding in wrong:
        # The zero may complete another symbol; then what is left of the padding counts.
        if pad < 5:
            with pytest.raises(HuffmanError, match="padding"):
                decode(packed(code + padding))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_whole_bytes_of_padding_are_wrong(count: int) -> None:
    for text in (b"", b"a", b"vigil"):
        with pytest.raises(HuffmanError, match="padding"):
            decode(ENCODER.encode(text) + b"\xff" * count)


@pytest.mark.parametrize("text", [b"", b"a", b"ab", b"\x00", b"vigil"])
def test_the_end_of_strings_may_not_stand_in_one(text: bytes) -> None:
    code = "".join(bits(symbol) for symbol in text) + EOS
    for _ in range(2):  # also once its beginning is known
        with pytest.raises(HuffmanError, match="holds the end of strings"):
            decode(packed(code + "1" * (-len(code) % 8)))


def test_what_was_refused_spoils_nothing() -> None:
    coded = ENCODER.encode(b"x-refused")
    with pytest.raises(HuffmanError):
        decode(coded + b"\xff\xff\xff\xff")
    assert decode(coded) == b"x-refused"
