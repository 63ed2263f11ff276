"""Heads are found wherever their bytes are cut, and what cannot become one is refused at once."""

from __future__ import annotations

import pytest

from serving.gateway.direct.http1.head_reader import HeadReader
from serving.gateway.direct.http1.heads import MAX_HEAD
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.known_heads import BadHead

HEAD = b"POST /v2 HTTP/1.1\r\nHost: v\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture
def reader():
    return HeadReader(Shapes())


def fed(reader, pieces):
    """Feed pieces as a connection does; return the head, and what came behind it."""
    for piece in pieces:
        data = reader.begun + piece
        head = reader.take(data, 0)
        if head is not None:
            return head, data[reader.end :]
    return None


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n", b"\r\n" * 9])
def test_a_head_is_found_wherever_it_is_cut(before):
    whole = before + HEAD + b"body"
    for cut in range(len(before), len(whole)):
        reader = HeadReader(Shapes())
        head, rest = fed(reader, [whole[:cut], whole[cut:]])
        assert (head.path, head.length) == ("/v2", 4)
        assert b"body".startswith(rest)
        assert reader.begun == b""


def test_a_head_begins_where_the_last_request_ended(reader):
    data = b"body" + b"\r\n" + HEAD + HEAD
    head = reader.take(data, 4)
    assert head.path == "/v2"
    assert reader.end == len(b"body\r\n" + HEAD)
    assert reader.take(data, reader.end) is not None
    assert reader.end == len(data)


def test_line_ends_alone_are_no_beginning(reader):
    assert reader.take(b"\r\n\r\n\r\n", 0) is None
    assert reader.begun == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", 400),  # TLS
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET / HTTP/1.1\n\r\n", 400),
        (b"G" * (MAX_HEAD + 1), 431),
    ],
)
def test_what_cannot_become_a_head_is_refused_before_its_end(reader, data, status):
    with pytest.raises(BadHead) as refused:
        reader.take(data, 0)
    assert refused.value.status == status
