"""Targets of requests: what their paths become, what of them is refused, and their queries."""

from __future__ import annotations

import pytest

from serving.gateway.direct.known_heads import BadHead
from serving.gateway.direct.targets import normalised


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a//b/./c/../d/", "/a/b/d/"),
        (b"/x?q", "/x"),
        (b"/../..", "/"),
        (b"//", "/"),
        (b"/%2e%2e/x", "/x"),
        (b"/\xc3\xa4", "/ä"),
        (b"/%C3%a4", "/ä"),
        (b"*", "*"),
        (b"", "/"),
        (b"?q", "/"),
        (b"/a/", "/a/"),
        (b"/a///", "/a/"),
        (b"/a/.", "/a"),
        (b"/a/..", "/"),
        (b"/a/../", "/"),
        (b"/a/%2E/b", "/a/b"),
        (b"//evil/a", "/evil/a"),
        (b"/../../etc/passwd", "/etc/passwd"),
        # Dots within a name are no segment.
        (b"/a..b", "/a..b"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/...", "/..."),
        # It is decoded once: what that leaves is part of a name.
        (b"/a%252fb", "/a%2fb"),
        (b"/%252e%252e/x", "/%2e%2e/x"),
        (b"/a%20b+c", "/a b+c"),
        # A percent sign that begins no escape is itself.
        (b"/100%", "/100%"),
        (b"/%zz", "/%zz"),
        (b"/%3fq", "/?q"),
        (b"/%23", "/#"),
    ],
)
def test_paths_are_normalised(target: bytes, path: str) -> None:
    assert normalised(target)[0] == path


@pytest.mark.parametrize(
    "target", [b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a%5Cb", b"/..%2f..%2fetc", b"/a/%2f", b"%2F"]
)
def test_slashes_that_hide_are_refused(target: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        normalised(target)
    assert refused.value.status == 400
    assert refused.value.sentence == "the path has an escaped slash; send the slash itself"


@pytest.mark.parametrize(
    "target",
    [b"/%ff", b"/\xff", b"/%c3", b"/\xc3/\xa4", b"/%c0%af", b"/%c0%ae%c0%ae/x", b"/%ed%a0%80"],
)
def test_paths_that_are_no_utf_8_are_refused(target: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        normalised(target)
    assert refused.value.status == 400
    assert "not valid UTF-8; percent-encode it" in refused.value.sentence


@pytest.mark.parametrize(
    ("target", "query"),
    [
        (b"/x", b""),
        (b"/x?", b""),
        (b"/x?a=1&b=2", b"a=1&b=2"),
        (b"/x?a?b", b"a?b"),
        (b"?a", b"a"),
        # What is said of paths is not said of queries: they stay as they were sent.
        (b"/x?a=%2f%5C%ff//../\xff", b"a=%2f%5C%ff//../\xff"),
        (b"/x%3Fa", b""),
    ],
)
def test_the_query_stays_as_it_was_sent(target: bytes, query: bytes) -> None:
    assert normalised(target)[1] == query
