"""Blocks that are known by their shape mean what a reader finds that remembers nothing."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.access.web import WebAccess
from serving.gateway.direct.http2.headers import MODEL_INFER, MalformedHead, understood
from serving.gateway.direct.http2.shapes import HeadReader2, Shapes2
from serving.http2 import frames as f

ACCESS = WebAccess(["https://app.example.com"], ["v"])
ATTRIBUTES = (
    "method", "path", "query", "headers", "length", "grpc", "infer", "timeout_s", "forwarded",
    "trace",
)  # fmt: skip
TRACE = b"00-%b-%b-01" % (b"a" * 32, b"b" * 16)
START = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", MODEL_INFER), (b":authority", b"v"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers"),
]  # fmt: skip


def outcome(read, given_):
    try:
        head = read(given_)
    except MalformedHead:
        return None
    problem = head.problem and (head.problem.status, head.problem.sentence)
    return problem, [getattr(head, name) for name in ATTRIBUTES]


def slowly(fields):
    return understood(fields, ACCESS)


starts = st.sampled_from([
    START, START, START[:4], START[:3], [*START[:2], (b":path", b"/v2/x%2fy"), *START[3:]],
    [(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"*")],
    [*START[:2], (b":path", b"v2"), *START[3:]], [(b":method", b"G T"), *START[1:]],
])  # fmt: skip
names = st.sampled_from([
    b"x-request-id", b"traceparent", b"content-length", b"grpc-timeout", b"x-forwarded-for", b"x",
    b"host", b"user-agent", b"origin", b"sec-fetch-site", b"grpc-encoding", b"te", b"connection",
    b"X-Y", b"a b", b"", b":path", b":x", b"accept",
])  # fmt: skip
values = st.one_of(
    st.sampled_from([
        b"1", b"007", b"", b"7 ", b"\t7", b"+7", b"9" * 20, b"1S", b"20m", b"123456789S", b"a",
        b"v", b"V", b"u@v", b"evil", b"trailers", b"gzip", b"identity", b"https://app.example.com",
        b"https://evil.example", TRACE,
        b"a\r\nb", b"a\x00", b"\x7f", b"\xff", b" ", b"a b", b"none",
    ]),
    st.binary(max_size=6),
)  # fmt: skip
# What is read of each block, right for the most part, so that much of it gets far.
read = st.sampled_from([
    (b"grpc-timeout", b"1S"), (b"grpc-timeout", b"20m"), (b"grpc-timeout", b"x"),
    (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2"), (b"content-length", b"7"),
    (b"traceparent", TRACE), (b"traceparent", TRACE.replace(b"b", b"c")),
])  # fmt: skip
fields = st.one_of(
    st.lists(st.tuples(names, values), max_size=6),
    st.lists(read, max_size=3),
    st.lists(st.one_of(read, st.tuples(names, values)), max_size=4),
)
changes = st.lists(st.tuples(st.integers(0, 5), values), max_size=3)
KINDS = ["indexed", "huffman", "literal"]


def encoded(encoder, kind, found):
    if kind == "literal":  # as some clients write what changes
        return b"".join(f.literal(name, value) for name, value in found)
    return encoder.encode(found, huffman=kind == "huffman")


@settings(max_examples=200)
@given(st.lists(st.tuples(starts, fields, st.lists(changes, max_size=4)), min_size=1, max_size=4),
       st.lists(st.sampled_from(KINDS), min_size=3, max_size=3))  # fmt: skip
def test_any_row_of_blocks(rows, kinds):
    shapes = Shapes2(ACCESS)
    readers = [(HeadReader2(shapes), Encoder(), kind) for kind in kinds]
    every = []
    for start, found, variations in rows:
        every.append([*start, *found])
        for changed in variations:
            other = list(found)
            for at, value in changed:
                if at < len(other):
                    other[at] = (other[at][0], value)
            every.append([*start, *other])
    for number, each in enumerate([*every, *every, *every, *every[::-1]]):
        reader, encoder, kind = readers[number % 3]
        assert outcome(reader.read, encoded(encoder, kind, each)) == outcome(slowly, each)


@pytest.fixture
def read_slowly(monkeypatch):
    """The blocks whose fields had to be understood."""
    found = []

    def tell(fields, access):
        found.append(fields)
        return understood(fields, access)

    monkeypatch.setattr("serving.gateway.direct.http2.shapes.understood", tell)
    return found


def call(number):
    return [*START, (b"grpc-timeout", b"%dm" % number), (b"x-request-id", b"id-%d" % number),
            (b"traceparent", b"00-%032x-%016x-01" % (number, number))]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_new_ids_and_timeouts_are_read_without_looking_at_the_rest(read_slowly, kind):
    shapes = Shapes2(ACCESS)
    for _ in range(2):
        reader, encoder = HeadReader2(shapes), Encoder()
        for number in range(300):  # more than the table has room for
            head = reader.read(encoded(encoder, kind, call(number)))
            assert head.timeout_s == pytest.approx(number / 1000)
            assert head.headers[3] == (b"x-request-id", b"id-%d" % number)
            assert head.infer
    assert len(read_slowly) == 1


def test_a_timeout_that_is_none_goes_its_own_way_each_time():
    reader, encoder = HeadReader2(Shapes2(ACCESS)), Encoder()
    for value, right in ((b"x", False), (b"1S", True), (b"y", False), (b"2S", True)):
        head = reader.read(encoder.encode([*START, (b"grpc-timeout", value)]))
        assert head.infer is right
        assert (head.timeout_s == -1.0) is not right


def test_a_flood_of_new_blocks_takes_nothing_from_others(read_slowly):
    shapes = Shapes2(ACCESS)
    steady, flood = (HeadReader2(shapes), Encoder()), (HeadReader2(shapes), Encoder())
    for number in range(3):
        HeadReader2(shapes).read(encoded(Encoder(), "indexed", call(number)))
    for number in range(3000):
        steady[0].read(encoded(steady[1], "indexed", call(number)))
        flood[0].read(encoded(flood[1], "indexed", [*call(number), (b"h%d" % number, b"x")]))
    read_slowly.clear()
    steady[0].read(encoded(steady[1], "indexed", call(1)))
    HeadReader2(shapes).read(encoded(Encoder(), "indexed", call(2)))
    assert read_slowly == []
    assert len(shapes._recent) <= 1024


def test_the_same_block_is_the_same_head_as_long_as_the_table_is_the_same():
    reader, encoder = HeadReader2(Shapes2()), Encoder()
    reader.read(encoder.encode(START))
    block = encoder.encode(START)
    assert reader.read(block) is reader.read(bytes(bytearray(block)))
    kept = reader.read(block)
    reader.skip(encoder.encode([(b"a", b"b")]))
    assert reader.read(encoder.encode(START)) is not kept


@pytest.mark.parametrize("extra", [
    (b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site"), (b"host", b"evil"),
])  # fmt: skip
def test_pages_and_foreign_hosts_are_refused_each_time(read_slowly, extra):
    reader, encoder = HeadReader2(Shapes2(ACCESS)), Encoder()
    start = [field for field in START if field[0] != b":authority"]
    for number in range(5):
        head = reader.read(encoder.encode([*start, extra, (b"x-request-id", b"%d" % number)]))
        assert head.problem.status == 403
    assert len(read_slowly) == 1


@pytest.mark.parametrize(("kind", "most"), [("indexed", 14), ("huffman", 18), ("literal", 9)])
def test_a_known_shape_costs_few_calls(count_calls, kind, most):
    reader, encoder = HeadReader2(Shapes2()), Encoder()
    blocks = [encoded(encoder, kind, call(number)) for number in range(300)]
    for block in blocks[:200]:  # as many as fill the table
        reader.read(block)
    assert count_calls(lambda: [reader.read(block) for block in blocks[200:]]) <= 100 * most + 2


@pytest.mark.parametrize("more", [[(b"x", b"v" * 3000)], [(b"x", b"v")] * 60])
def test_large_blocks_are_read_and_not_kept(read_slowly, more):
    shapes = Shapes2()
    reader, encoder = HeadReader2(shapes), Encoder()
    for number in range(3):
        head = reader.read(encoder.encode([*call(number), *more]))
        assert head.headers[3] == (b"x-request-id", b"id-%d" % number)
    assert len(read_slowly) == 3
    assert len(shapes._recent) == 0
