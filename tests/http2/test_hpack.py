"""The HPACK decoder against the hpack package, and against what a hostile peer may write."""

from __future__ import annotations

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.http2.hpack import OVERHEAD, STATIC, Decoder, HpackError, TooLarge

MOST = 4000
names = st.sampled_from([b"a", b":path", b"content-type", b"x-request-id", b"long-" * 20, b""])
values = st.one_of(
    st.sampled_from([b"1", b"", b"application/grpc", b"v" * 126, b"v" * 127, b"w" * 1500]),
    st.binary(max_size=40),
)
fields = st.lists(st.tuples(names, values), max_size=6)
resizes = st.sampled_from([None, None, 0, 60, 100, 4096])


def ours_and_theirs(blocks):
    """Decode with both; yields what each says of each block, until one cannot go on."""
    ours, theirs = Decoder(MOST), hpack.Decoder(max_header_list_size=MOST)
    for block in blocks:
        try:
            expected = [(bytes(n), bytes(v)) for n, v in theirs.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError, ValueError):
            expected = None
        try:
            found = ours.decode(block)
        except HpackError:
            found = None
        yield found, expected
        if found is None or expected is None:
            return


def test_the_static_table():
    assert HeaderTable.STATIC_TABLE == STATIC


@given(st.lists(st.tuples(fields, resizes, st.booleans()), max_size=20))
def test_what_an_encoder_writes(rows):
    encoder, blocks = hpack.Encoder(), []
    for row, resize, huffman in rows:
        if resize is not None:
            encoder.header_table_size = resize
        blocks.append(encoder.encode(row, huffman=huffman))
    for found, expected in ours_and_theirs(blocks):
        assert found == expected


pieces = st.one_of(
    st.integers(0x80, 0xFE).map(lambda first: bytes((first,))),
    st.builds(
        lambda first, name, value: bytes((first, len(name))) + name + bytes((len(value),)) + value,
        st.sampled_from([0x40, 0x00, 0x10]), st.binary(max_size=9), st.binary(max_size=120),
    ),
    st.builds(
        lambda first, value: bytes((first, len(value))) + value,
        st.sampled_from([0x41, 0x44, 0x7E, 0x01, 0x0E, 0x11, 0x5F]), st.binary(max_size=40),
    ),
    st.builds(  # a string in Huffman's code, most of them wrong
        lambda coded: bytes((0x04, 0x80 | len(coded))) + coded, st.binary(max_size=12)
    ),
    st.sampled_from([b"\x20", b"\x3f\x45", b"\x3f\xe1\x1f", b"\x3f\xe2\x1f", b"\x7f\x00\x01v",
                     b"\xff\x00", b"\xff\x07", b"\x0f\x2f\x01v", b"\x7f", b"\x00\x7f\x00"]),
    st.binary(max_size=3),
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.lists(pieces, max_size=6).map(b"".join), max_size=8))
def test_any_bytes_are_decoded_or_refused_alike(blocks):
    for found, expected in ours_and_theirs(blocks):
        assert found == expected


@given(st.binary(max_size=300))
def test_every_string_survives_its_huffman_code(value):
    block = hpack.Encoder().encode([(b"a", value)], huffman=True)
    assert Decoder(MOST).decode(block) == [(b"a", value)]


@pytest.mark.parametrize("block", [
    b"\x80",  # index 0
    b"\xbe", b"\x7e\x01v", b"\xff\x80\x80\x80\x80\x00",  # beyond the table
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # an index of 56 bits
    b"\x00\x7f\x80\x80\x80\x80\x00" + b"a" * 127 + b"\x01v",  # 127, in too many bytes
    b"\x00\x7f\xff\xff\xff\xff\xff\xff\x7f", b"\x00\x01",  # a length that nothing follows
    b"\x00\x01a\x05v", b"\x00\x01a\x7f\x05v", b"\x00\x05a", b"\x00\x01a",
    b"\x3f\xe2\x1f", b"\x3f\xff\xff\xff\xff\xff\x0f",  # a table of 4097 bytes; of 36 bits
    b"\x82\x20",  # the table's size after a field
    b"\x00\x01a\x84\xff\xff\xff\xff",  # EOS
    b"\x00\x01a\x81\xff", b"\x00\x01a\x81\x00", b"\x00\x01a\x82\x1f\xff",  # wrong padding
])  # fmt: skip
def test_what_is_malformed(block):
    with pytest.raises(HpackError):
        Decoder(MOST).decode(block)


def test_a_small_block_of_a_huge_list_is_too_large():
    decoder = Decoder(60_000)
    value = b"x" * 3900
    decoder.decode(hpack.Encoder().encode([(b"a", value)], huffman=False))
    each = 1 + len(value) + OVERHEAD
    assert decoder.decode(b"\xbe" * (60_000 // each)) == [(b"a", value)] * (60_000 // each)
    with pytest.raises(TooLarge):
        decoder.decode(b"\xbe" * (60_000 // each + 1))


def test_the_limit_counts_what_each_field_costs():
    decoder = Decoder(10 * (7 + 3 + OVERHEAD))
    assert len(decoder.decode(b"\x82" * 10)) == 10
    with pytest.raises(TooLarge):
        decoder.decode(b"\x82" * 10 + b"\x00\x00\x00")


def test_changes_tell_whether_blocks_keep_their_meaning():
    decoder = Decoder(MOST)
    decoder.decode(b"\x82\x00\x01a\x01b\x10\x01a\x01b")
    assert decoder.changes == 0
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.changes == 1
    decoder.decode(b"\x20")
    assert decoder.changes == 2
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")
