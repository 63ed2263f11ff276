"""Heads of HTTP/1.1 requests."""

from __future__ import annotations

import pytest

from serving.access.web import WebAccess
from serving.gateway.direct.http1.heads import parse
from serving.gateway.direct.known_heads import BadHead


def read(first, *lines):
    return parse("\r\n".join((first, "Host: v", *lines, "", "")).encode("latin-1"), WebAccess())


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


@pytest.mark.parametrize("first", [
    "GET  /a HTTP/1.1", "GET /a  HTTP/1.1", "GET /a HTTP/1.1 ", " GET /a HTTP/1.1",
    "GET\t/a HTTP/1.1", "GET /a b HTTP/1.1", "GET /a\x00 HTTP/1.1", "GET /a\x7f HTTP/1.1",
    "GET /a#b HTTP/1.1", "GET /a http/1.1", "GET /a HTTP/1.2", "GET /a HTTP/01.1",
    "GET /a HTTP/2.0", "GET /a", "GET a HTTP/1.1", "GET  HTTP/1.1", "GET * HTTP/1.1",
    "GET ?a HTTP/1.1", "GET ftp://h/a HTTP/1.1", "GET http:///a HTTP/1.1",
    "GET http://u@h/a HTTP/1.1", "GET http://h:x/a HTTP/1.1", "G(T /a HTTP/1.1",
    "CONNECT v:1 HTTP/1.1", "A" * 65 + " /a HTTP/1.1",
])  # fmt: skip
def test_request_lines_that_deviate(first):
    with pytest.raises(BadHead) as refused:
        read(first)
    assert refused.value.status == 400


@pytest.mark.parametrize("line", [
    " A: b", "A : b", "A", ": b", "A: b\x00", "A: b\x01", "A: b\x7f", "A: b\rc", "A: b\nc",
    "A: b\r\n c", "A\x80: b", "Host: w", "Content-Length: 1\x0b", "Content-Length: 1,1",
    "Transfer-Encoding: x",
])  # fmt: skip
def test_header_lines_that_deviate(line):
    with pytest.raises(BadHead) as refused:
        read("GET /a HTTP/1.1", line)
    assert refused.value.status == 400


@pytest.mark.parametrize("host", ["a b", "u@h", "a/b", "a,b\xe4", "[::1", "a:b"])
def test_hosts_that_are_none(host):
    with pytest.raises(BadHead, match="Host header is malformed"):
        parse(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"), WebAccess())


def test_the_host_of_a_whole_address_is_the_one_that_counts():
    head = read("GET http://Other:1/x?y HTTP/1.1", "A: b")
    assert (head.path, head.query) == ("/x", b"y")
    assert head.headers == [(b"a", b"b"), (b"host", b"Other:1")]
    assert read("OPTIONS * HTTP/1.1").path == "*"
    with pytest.raises(BadHead) as refused:
        parse(b"GET http://evil/x HTTP/1.1\r\nHost: localhost\r\n\r\n", WebAccess(hosts=()))
    assert refused.value.status == 403
