"""Header blocks against the hpack package's encoder."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.access.web import WebAccess
from serving.gateway.direct.http1.heads import MAX_HEAD
from serving.gateway.direct.http2.headers import MalformedHead, understood
from serving.gateway.direct.http2.shapes import HeadReader2, Shapes2
from serving.http2.frames import ProtocolError

START = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"v")]
names = st.sampled_from([b"a", b"b", b"long-" * 20])
values = st.sampled_from([b"1", b"2", b"", b"v" * 900, b"w" * 5000])
fields = st.lists(st.tuples(names, values), max_size=4)


@given(st.lists(st.tuples(fields, st.sampled_from([None, None, None, 0, 100, 4096]), st.booleans()),
                max_size=25))  # fmt: skip
def test_blocks_mean_what_was_encoded_whatever_the_table_went_through(blocks):
    encoder, reader = Encoder(), HeadReader2(Shapes2())
    for extra, resize, huffman in blocks:
        if resize is not None:
            encoder.header_table_size = resize
        head = reader.read(encoder.encode([*START, *extra], huffman=huffman))
        assert head.headers == [*extra, (b"host", b"v")]


# Method GET, path /, scheme http and https, accept-encoding, content-type.
STATIC = [2, 4, 6, 7, 16, 31]
NAMES = [b"a", b":path", b":method", b"x" * 30]
instructions = st.one_of(
    st.sampled_from([bytes((0x80 | index,)) for index in (*STATIC, 62, 63, 64, 70)]),
    st.builds(  # a literal with its name
        lambda kind, name, value: bytes((kind, len(name))) + name + bytes((len(value),)) + value,
        st.sampled_from([0x40, 0x00, 0x10]),
        st.sampled_from(NAMES),
        st.sampled_from([b"", b"1", b"/p", b"w" * 100]),
    ),
    st.sampled_from([b"\x7f\x00\x01v", b"\x44\x02/q", b"\x04\x02/r"]),  # with an indexed name
    st.sampled_from([b"\x20", b"\x3f\x45", b"\x3f\xe1\x1f"]),  # the table's size: 0, 100, 4096
)
START_BLOCK = b"\x82\x86\x84"
blocks = st.lists(instructions, max_size=5).map(b"".join)


@settings(max_examples=200)
@given(st.lists(st.tuples(blocks, st.booleans(), st.integers(1, 3)), max_size=12))
def test_any_row_of_blocks_means_what_it_means_to_a_decoder_that_remembers_nothing(rows):
    reader, decoder = HeadReader2(Shapes2()), Decoder(max_header_list_size=MAX_HEAD)
    again = [START_BLOCK + block if start else block for block, start, _ in rows]
    for (_, _, times), block in zip(rows, again, strict=True):
        # Earlier blocks come back between new ones, and may mean something else by then.
        for each in [block] * times + again[:2]:
            try:
                fields = decoder.decode(each, raw=True)
            except (HPACKError, IndexError, ValueError):
                with pytest.raises(ProtocolError):
                    reader.read(each)
                return
            try:
                expected = understood(
                    [(bytes(name), bytes(value)) for name, value in fields], WebAccess()
                )
            except MalformedHead:
                with pytest.raises(MalformedHead):
                    reader.read(each)
            else:
                found = reader.read(each)
                assert (found.method, found.path, found.headers) == (
                    expected.method, expected.path, expected.headers,
                )  # fmt: skip


def test_a_block_is_known_only_as_long_as_the_table_is_the_same():
    encoder, reader = Encoder(), HeadReader2(Shapes2())
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
    [(b"te", b"gzip"), (b"te", b"trailers")],
])  # fmt: skip
def test_what_the_protocol_forbids_is_malformed_and_the_next_block_is_read(extra):
    encoder, reader = Encoder(), HeadReader2(Shapes2())
    with pytest.raises(MalformedHead):
        reader.read(encoder.encode([*START, *extra]))
    assert reader.read(encoder.encode(START)).path == "/x"


@pytest.mark.parametrize("block", [b"\xff", b"\x7f\xff\xff\xff\xff\xff", b"\xbe", bytes(70_000),
                                   b"\x3f\xff\xff\xff\x7f"])  # fmt: skip
def test_what_cannot_be_decoded_ends_the_connection(block):
    with pytest.raises(ProtocolError):
        HeadReader2(Shapes2()).read(block)


def test_what_is_given_twice_is_a_list():
    twice = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2")]
    twice += [(b"grpc-timeout", b"1S"), (b"grpc-timeout", b"2S")]
    head = HeadReader2(Shapes2()).read(Encoder().encode([*START, *twice]))
    assert (head.forwarded, head.timeout_s) == ("1.1.1.1, 2.2.2.2", -1)


def test_a_small_block_of_a_huge_list_is_refused():
    encoder, reader = Encoder(), HeadReader2(Shapes2())
    reader.read(encoder.encode([*START, (b"a", b"x" * 3900)]))
    with pytest.raises(ProtocolError):
        reader.read(b"\xbe" * 1000)


@pytest.mark.parametrize(("value", "seconds"), [(b"5S", 5), (b"1m", 1e-3), (b"x", -1), (b"S", -1),
                                                (b"123456789S", -1)])  # fmt: skip
def test_timeouts(value, seconds):
    block = Encoder().encode([*START, (b"grpc-timeout", value)])
    assert HeadReader2(Shapes2()).read(block).timeout_s == seconds
