"""Heads that are known by their shape mean what a reader finds that remembers nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.access.web import WebAccess
from serving.gateway.direct.http1.head_reader import HeadReader
from serving.gateway.direct.http1.heads import MAX_HEAD, parse
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.known_heads import BadHead

ACCESS = WebAccess(["https://app.example.com"], ["v"])
ATTRIBUTES = (
    "method", "path", "query", "version", "headers", "length", "keep_alive", "expects", "forwarded",
    "infer",
)  # fmt: skip

TRACE = b"00-%b-%b-01" % (b"a" * 32, b"b" * 16)


def outcome(read, raw):
    try:
        head = read(raw)
    except BadHead as error:
        return error.status, error.sentence
    return [getattr(head, name) for name in ATTRIBUTES]


def slowly(raw):
    return parse(raw, ACCESS)


lines = st.sampled_from([
    b"POST /v2/models/m/infer HTTP/1.1", b"POST /v2/models/a%20b/versions/2/infer?x=1 HTTP/1.1",
    b"GET /v2 HTTP/1.1", b"POST /v2/models/m/infer HTTP/1.0", b"POST  /v2/models/m/infer HTTP/1.1",
    b"\r\nPOST /v2/models/m/infer HTTP/1.1", b"POST http://w/v2/models/m/infer HTTP/1.1",
])  # fmt: skip
names = st.sampled_from([
    b"X-Request-Id", b"x-request-id", b"Content-Length", b"content-length", b"traceparent",
    b"Inference-Header-Content-Length", b"X-Forwarded-For", b"x", b"Accept-Encoding", b"Expect",
    b"Connection", b"Content-Encoding", b"Origin", b"Transfer-Encoding", b"Host", b"User-Agent",
    b"Content-Type", b"Sec-Fetch-Site", b"A B",
])  # fmt: skip
values = st.one_of(
    st.sampled_from([
        b"1", b"007", b"", b"7 ", b"\t7", b"+7", b"1_0", b"9" * 20, b"a", TRACE, b"00-ab-cd-01",
        b"gzip",
        b"100-continue", b"close", b"https://app.example.com", b"https://evil.example", b"chunked",
        b"v", b"localhost:80", b"none", b"a\r\nx: b", b"a\r\ncontent-length: 3", b"a\nb", b"a\rb",
        b"\r\n", b"\x00", b"\x7f", b"\xff", b"\xb2", b"a b", b"1.2.3.4", b"application/grpc",
    ]),
    st.binary(max_size=6),
)  # fmt: skip
blanks = st.sampled_from([b" ", b" ", b"", b"\t", b"  "])
# What is read of each head, right for the most part, so that much of it gets far.
read = st.sampled_from([
    (b"X-Request-Id", b" ", b"a"), (b"x-request-id", b" ", b"b "), (b"Content-Length", b" ", b"7"),
    (b"traceparent", b" ", TRACE), (b"Traceparent", b"", TRACE.replace(b"b", b"c") + b" "),
    (b"X-Forwarded-For", b" ", b"1.1.1.1"), (b"Inference-Header-Content-Length", b" ", b"3"),
])  # fmt: skip
fields = st.one_of(
    st.lists(st.tuples(names, blanks, values), max_size=6),
    st.lists(read, max_size=4),
    st.lists(st.one_of(read, st.tuples(names, blanks, values)), max_size=4),
)
changes = st.lists(st.tuples(st.integers(0, 5), values), max_size=3)


def written(line, found):
    head = [line, b"Host: v", *(name + b":" + blank + value for name, blank, value in found)]
    raw = b"\r\n".join([*head, b"", b""])
    return raw[: raw.index(b"\r\n\r\n", 2) + 4]  # as the connection cuts it


@settings(max_examples=200)
@given(st.lists(st.tuples(lines, fields, st.lists(changes, max_size=4)), min_size=1, max_size=4))
def test_any_row_of_heads(rows):
    shapes = Shapes(ACCESS)
    readers = [HeadReader(shapes), HeadReader(shapes)]
    raws = []
    for line, found, variations in rows:
        raws.append(written(line, found))
        for changed in variations:
            other = list(found)
            for at, value in changed:
                if at < len(other):
                    other[at] = (*other[at][:2], value)
            raws.append(written(line, other))
    for number, raw in enumerate([*raws, *raws, *raws[::-1]]):
        expected = outcome(slowly, raw)
        assert outcome(readers[number % 2].read, raw) == expected
        assert outcome(HeadReader(shapes).read, raw) == expected


def request(ident=b"1", length=b"2", more=b""):
    return (
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: v\r\nX-Request-Id: %b\r\nContent-Length: %b\r\n"
        b"traceparent: %b\r\n%b\r\n" % (ident, length, ident * 2, more)
    )


@pytest.fixture
def parsed(monkeypatch):
    """The heads that had to be parsed."""
    found = []

    def parse_and_tell(raw, access):
        found.append(raw)
        return parse(raw, access)

    monkeypatch.setattr("serving.gateway.direct.http1.shapes.parse", parse_and_tell)
    return found


def test_new_ids_and_lengths_need_no_parsing(parsed):
    shapes = Shapes(ACCESS)
    for _ in range(2):
        reader = HeadReader(shapes)  # what one connection has seen others know
        for number in range(100):
            head = reader.read(request(b"id-%d" % number, b"%d" % number))
            assert head.infer.request_id == f"id-{number}"
            assert head.length == number
    assert len(parsed) == 1


def test_a_flood_of_new_heads_takes_nothing_from_others(parsed):
    shapes = Shapes(ACCESS)
    steady, flood = HeadReader(shapes), HeadReader(shapes)
    for _ in range(3):
        HeadReader(shapes).read(request())
    for number in range(3000):
        steady.read(request(b"%d" % number))
        flood.read(b"GET /%d HTTP/1.1\r\nHost: v\r\n\r\n" % number)
        flood.read(request(more=b"h%d: x\r\n" % number))
    parsed.clear()
    steady.read(request(b"a"))
    HeadReader(shapes).read(request(b"b"))
    assert parsed == []
    assert shapes._recent.kept <= 3 * 512
    assert sum(len(each or ()) for each in shapes._recent.values()) <= 8


def test_the_same_bytes_are_the_same_head():
    reader = HeadReader(Shapes())
    assert reader.read(request()) is reader.read(bytes(bytearray(request())))


def test_a_known_shape_has_the_same_bounds():
    reader = HeadReader(Shapes())
    reader.read(request())
    with pytest.raises(BadHead) as refused:
        reader.read(request(b"x" * MAX_HEAD))
    assert refused.value.status == 431


def test_pages_of_named_origins_take_the_long_path():
    reader = HeadReader(Shapes(ACCESS, cors=True))
    page = b"Origin: https://app.example.com\r\n"
    for number in range(3):
        assert reader.read(request(b"%d" % number, more=page)).infer is None
        assert reader.read(request(b"%d" % number)).infer is not None


@pytest.mark.parametrize(
    "more", [b"Origin: https://evil.example\r\n", b"Sec-Fetch-Site: same-site\r\n"]
)
def test_other_pages_are_refused(more):
    reader = HeadReader(Shapes(ACCESS))
    reader.read(request())
    for _ in range(2):
        with pytest.raises(BadHead) as refused:
            reader.read(request(more=more))
        assert refused.value.status == 403


def test_a_known_shape_costs_few_calls(count_calls):
    reader = HeadReader(Shapes())
    heads = [request(b"id-%d" % number, b"%d" % number) for number in range(101)]
    reader.read(heads.pop())
    assert count_calls(lambda: [reader.read(raw) for raw in heads]) <= 300 + 2


@pytest.mark.parametrize("more", [b"x: %b\r\n" % (b"v" * 3000), b"x: v\r\n" * 60])
def test_large_heads_are_read_and_not_kept(parsed, more):
    shapes = Shapes()
    reader = HeadReader(shapes)
    for number in range(3):
        head = reader.read(request(b"%d" % number, more=more))
        assert head.infer.request_id == f"{number}"
    assert len(parsed) == 3
    assert shapes._recent.kept == 0
