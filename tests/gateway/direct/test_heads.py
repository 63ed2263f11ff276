"""Heads of HTTP/1.1 requests."""

from __future__ import annotations

import pytest

from serving.gateway.direct.heads import BadHead, HeadReader, normalised


def read(first, *lines):
    return HeadReader().read("\r\n".join((first, "Host: v", *lines, "", "")).encode())


def test_what_a_head_says():
    head = read("POST /v2/models/a%20b/versions/2/infer?x=1 HTTP/1.1", "Content-Length: 7", "X: Y",
                "X-Request-Id: r", "Inference-Header-Content-Length: 3")  # fmt: skip
    assert (head.method, head.path, head.query) == (
        "POST",
        "/v2/models/a b/versions/2/infer",
        b"x=1",
    )
    assert head.length == 7
    assert head.keep_alive
    assert not head.expects
    assert (b"x", b"Y") in head.headers
    assert head.infer is not None
    assert (head.infer.model, head.infer.version) == ("a b", "2")
    assert (head.infer.request_id, head.infer.json_length) == ("r", "3")


def test_what_is_given_twice_is_a_list_and_blanks_belong_to_no_value():
    head = read("POST /v2/models/m/infer HTTP/1.1", "Content-Length: 7 \t", "X-Request-Id:\t a ",
                "Inference-Header-Content-Length: 3", "Inference-Header-Content-Length: 4",
                "X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2", "Connection: x",
                "Connection: close ")  # fmt: skip
    assert head.length == 7
    assert head.infer is not None
    assert (head.infer.request_id, head.infer.json_length) == ("a", "3, 4")
    assert head.forwarded == "1.1.1.1, 2.2.2.2"
    assert not head.keep_alive


@pytest.mark.parametrize("first", [
    "GET /v2/models/m/infer HTTP/1.1", "POST /v2/models/m/explain HTTP/1.1",
    "POST /v2/models/m/x/2/infer HTTP/1.1", "POST /v2/models/infer HTTP/1.1",
])  # fmt: skip
def test_other_requests_are_no_inference(first):
    assert read(first).infer is None


def test_a_known_head_is_the_same_head():
    reader = HeadReader()
    raw = b"GET /a HTTP/1.1\r\nHost: v\r\n\r\n"
    assert reader.read(raw) is reader.read(bytes(bytearray(raw)))
    for i in range(3000):
        assert reader.read(b"GET /%d HTTP/1.1\r\nHost: v\r\n\r\n" % i).path == f"/{i}"


@pytest.mark.parametrize(("target", "path"), [
    (b"/a//b/./c/../d/", "/a/b/d/"), (b"http://h/x?q", "/x"), (b"/../..", "/"), (b"//", "/"),
    (b"/%2e%2e/x", "/x"), (b"/\xc3\xa4", "/ä"), (b"*", "*"), (b"", "/"),
])  # fmt: skip
def test_paths_are_normalised(target, path):
    assert normalised(target)[0] == path


@pytest.mark.parametrize("target", [b"/a%2fb", b"/a%5Cb", b"/%ff"])
def test_paths_that_hide_something_are_refused(target):
    with pytest.raises(BadHead):
        normalised(target)
