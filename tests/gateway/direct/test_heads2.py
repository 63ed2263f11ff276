"""Header blocks against the hpack package's encoder."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.direct.heads2 import HeadReader2, MalformedHead
from serving.http2.frames import ProtocolError

START = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"v")]
names = st.sampled_from([b"a", b"b", b"long-" * 20])
values = st.sampled_from([b"1", b"2", b"", b"v" * 900, b"w" * 5000])
fields = st.lists(st.tuples(names, values), max_size=4)


@given(st.lists(st.tuples(fields, st.sampled_from([None, None, None, 0, 100, 4096]), st.booleans()),
                max_size=25))  # fmt: skip
def test_blocks_mean_what_was_encoded_whatever_the_table_went_through(blocks):
    encoder, reader = Encoder(), HeadReader2()
    for extra, resize, huffman in blocks:
        if resize is not None:
            encoder.header_table_size = resize
        head = reader.read(encoder.encode([*START, *extra], huffman=huffman))
        assert head.headers == [*extra, (b"host", b"v")]


def test_a_block_is_known_only_as_long_as_the_table_is_the_same():
    encoder, reader = Encoder(), HeadReader2()
    static = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")]
    first = [*static, (b"a", b"1")]
    reader.read(encoder.encode(first))
    block = encoder.encode(first)
    assert reader.read(block) is reader.read(block)
    reader.read(encoder.encode([*static, (b"b", b"2")]))
    assert reader.read(block).headers[0] == (b"b", b"2")  # the same index is another entry now
    reader.skip(encoder.encode([(b"c", b"3")]))
    assert reader.read(block).headers[0] == (b"c", b"3")


@pytest.mark.parametrize("extra", [
    [(b"A", b"")], [(b"a b", b"")], [(b"", b"")], [(b"a", b"\n")], [(b":path", b"/")],
    [(b"connection", b"")], [(b"te", b"gzip")], [(b"content-length", b"-1")],
    [(b"content-length", b"1"), (b"content-length", b"1")], [(b"a", b"b")] * 101,
])  # fmt: skip
def test_what_the_protocol_forbids_is_malformed_and_the_next_block_is_read(extra):
    encoder, reader = Encoder(), HeadReader2()
    with pytest.raises(MalformedHead):
        reader.read(encoder.encode([*START, *extra]))
    assert reader.read(encoder.encode(START)).path == "/x"


@pytest.mark.parametrize("block", [b"\xff", b"\x7f\xff\xff\xff\xff\xff", b"\xbe", bytes(70_000),
                                   b"\x3f\xff\xff\xff\x7f"])  # fmt: skip
def test_what_cannot_be_decoded_ends_the_connection(block):
    with pytest.raises(ProtocolError):
        HeadReader2().read(block)


def test_a_small_block_of_a_huge_list_is_refused():
    encoder, reader = Encoder(), HeadReader2()
    reader.read(encoder.encode([*START, (b"a", b"x" * 3900)]))
    with pytest.raises(ProtocolError):
        reader.read(b"\xbe" * 1000)


@pytest.mark.parametrize(("value", "seconds"), [(b"5S", 5), (b"1m", 1e-3), (b"x", -1), (b"S", -1),
                                                (b"123456789S", -1)])  # fmt: skip
def test_timeouts(value, seconds):
    block = Encoder().encode([*START, (b"grpc-timeout", value)])
    assert HeadReader2().read(block).timeout_s == seconds
