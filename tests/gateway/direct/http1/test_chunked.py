"""Chunked bodies, cut at any place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.direct.http1.chunked import ChunkedBody
from serving.gateway.direct.known_heads import BadHead
from serving.gateway.direct.time_slices import TimeSlices

chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def endless():
    """Slices of a turn whose time stands still."""
    return TimeSlices(lambda turn: None, lambda: 1.0)


def encoded(parts, extension=b"", trailers=b""):
    lines = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    return b"".join(lines) + b"0\r\n" + trailers + b"\r\n"


@given(chunks, st.sampled_from([b"", b";a=b", b" ; a"]), st.sampled_from([b"", b"a: b\r\n"]),
       st.lists(st.integers(0, 400), max_size=6), st.binary(max_size=9))  # fmt: skip
def test_a_body_cut_anywhere_is_the_whole_body(parts, extension, trailers, cuts, left):
    raw = encoded(parts, extension, trailers) + left
    places = sorted({0, len(raw), *(min(cut, len(raw)) for cut in cuts)})
    body, done = ChunkedBody(1000, endless()), False
    for start, end in itertools.pairwise(places):
        if done:
            body.left += raw[start:end]
        else:
            done = body.feed(raw[start:end])
    assert done
    assert body.body == b"".join(parts)
    assert body.left == left


def test_byte_by_byte_thousands_of_chunks():
    raw = encoded([b"x"] * 3000)
    body = ChunkedBody(3000, endless())
    assert [body.feed(raw[i : i + 1]) for i in range(len(raw))][-1]
    assert body.body == b"x" * 3000


@pytest.mark.parametrize("raw", [
    b"\r\n", b"x\r\n", b"1\nx\r\n",
    b"1\r\nxy\r\n", b"1\r\nx\n0\r\n\r\n", b"-1\r\n", b"0x1\r\nx\r\n",
    b"1 \r\nx\r\n", b"1;a\rb\r\nx", b"1;" + b"a" * 5000 + b"\r\nx", b"1" * 16 + b"\r\n",
    b"0\r\nno trailer\r\n\r\n", b"0\r\na: b\0\r\n\r\n", b"0\r\na: b\rc\r\n\r\n",
    b"0\r\na: b\r\n c\r\n\r\n", b"0\r\na : b\r\n\r\n", b"0\r\n: b\r\n\r\n",
    b"0\r\n" + b"a: b\r\n" * 9999, b"a" * 5000,
])  # fmt: skip
@pytest.mark.parametrize("step", [1, 10**6])
def test_what_is_malformed_is_refused_however_it_comes(raw, step):
    body = ChunkedBody(100, endless())
    with pytest.raises(BadHead) as refused:  # noqa: PT012
        for at in range(0, len(raw), step):
            body.feed(raw[at : at + step])
    assert refused.value.status == 400


def test_the_limit_holds_before_the_bytes_come():
    with pytest.raises(BadHead) as refused:
        ChunkedBody(100, endless()).feed(b"65\r\n")
    assert refused.value.status == 413
