"""What the RFCs say of request lines, pseudo headers and fields, a row each, over raw bytes.

A malformed request over HTTP/2 is a stream error (RFC 9113, section 8.1.1): its stream is reset
with PROTOCOL_ERROR, and the connection goes on. Over HTTP/1.1 it is answered 400 and the connection
closes, since nobody knows where the next request begins.
"""

from __future__ import annotations

import asyncio

import pytest

from serving.http2 import frames as f

GOOD = {":method": "GET", ":scheme": "http", ":path": "/v2", ":authority": "localhost:8000"}


def block(pairs):
    return b"".join(
        f.literal(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs
    )


def start(**changed):
    """The pseudo headers of a good request, some changed or (None) left out."""
    merged = {**GOOD, **{f":{name}": value for name, value in changed.items()}}
    return [(name, value) for name, value in merged.items() if value is not None]


class Frames:
    """Reads the frames that a server sends."""

    def __init__(self, client):
        self._client = client

    async def on(self, ident):
        """Return the first frame on a stream, as (type, payload)."""
        while True:
            async with asyncio.timeout(60):
                high, low, kind, _, stream = f.read_head(await self._client.reader.readexactly(9))
                payload = await self._client.reader.readexactly(high << 8 | low)
            assert kind != f.GOAWAY, payload
            if stream == ident and kind in (f.HEADERS, f.RST_STREAM):
                return kind, payload


@pytest.fixture
async def frames(connect):
    client = await connect()
    await client.send(f.PREFACE + f.settings({}))
    return client, Frames(client)


OK = b"\x88"  # :status 200, of the static table
END = f.END_HEADERS | f.END_STREAM


async def is_still_good(client, frames, ident):
    await client.send(f.frame(f.HEADERS, END, ident, block(start())))
    kind, payload = await frames.on(ident)
    assert (kind, payload[:1]) == (f.HEADERS, OK)


MALFORMED = [
    # Names
    ("8.2.1", [*start(), ("X-Upper", "a")]),
    ("8.2.1", [*start(), ("x-Upper", "a")]),
    ("8.2.1", [*start(), ("x y", "a")]),
    ("8.2.1", [*start(), ("", "a")]),
    ("8.2.1", [*start(), ("x\x7f", "a")]),
    ("8.2.1", [*start(), ("x\xe4", "a")]),
    ("8.2.1", [*start(), ("x:y", "a")]),
    ("8.2.1", [*start(), ("x\r\ny", "a")]),
    # Values
    ("8.2.1", [*start(), ("x", " a")]),
    ("8.2.1", [*start(), ("x", "a ")]),
    ("8.2.1", [*start(), ("x", "\ta")]),
    ("8.2.1", [*start(), ("x", "a\t")]),
    ("8.2.1", [*start(), ("x", " ")]),
    ("8.2.1", [*start(), ("x", "a\0b")]),
    ("8.2.1", [*start(), ("x", "a\rb")]),
    ("8.2.1", [*start(), ("x", "a\nb")]),
    ("8.2.1", [*start(), ("x", "a\r\nevil: b")]),
    ("9110 5.5", [*start(), ("x", "a\x01b")]),
    ("9110 5.5", [*start(), ("x", "a\x7fb")]),
    ("8.2.1", [*start(), ("content-length", "0 ")]),
    ("8.2.1", start(path="/v2 ")),
    ("8.2.1", start(authority=" localhost")),
    # Fields about one connection
    ("8.2.2", [*start(), ("connection", "close")]),
    ("8.2.2", [*start(), ("connection", "")]),
    ("8.2.2", [*start(), ("keep-alive", "timeout=5")]),
    ("8.2.2", [*start(), ("proxy-connection", "keep-alive")]),
    ("8.2.2", [*start(), ("transfer-encoding", "chunked")]),
    ("8.2.2", [*start(), ("upgrade", "h2c")]),
    ("8.2.2", [*start(), ("te", "gzip")]),
    ("8.2.2", [*start(), ("te", "trailers, deflate")]),
    ("8.2.2", [*start(), ("te", "")]),
    # Pseudo headers
    ("8.3", [*start(), ("x", "a"), (":path", "/v2")]),
    ("8.3", [("x", "a"), *start()]),
    ("8.3", [*start(), (":path", "/evil")]),
    ("8.3", [*start(), (":method", "GET")]),
    ("8.3", [*start(), (":authority", "localhost:8000")]),
    ("8.3", [*start(), (":status", "200")]),
    ("8.3", [*start(), (":protocol", "websocket")]),
    ("8.3", [*start(), (":Path", "/v2")]),
    ("8.3", [*start(), (":", "a")]),
    ("8.3.1", start(method=None)),
    ("8.3.1", start(scheme=None)),
    ("8.3.1", start(path=None)),
    ("8.3.1", start(method="")),
    ("8.3.1", start(method="GET /")),
    ("8.3.1", start(scheme="")),
    ("8.3.1", start(scheme="http:")),
    ("8.3.1", start(scheme="9p")),
    ("8.3.1", start(path="")),
    ("8.3.1", start(path="v2")),
    ("8.3.1", start(path="?a=b")),
    ("8.3.1", start(path="*")),
    ("8.3.1", start(path="http://localhost/v2")),
    ("8.3.1", start(path="/v2#a")),
    ("8.3.1", start(path="/v 2")),
    ("8.3.1", start(path="/v2\x01")),
    ("8.3.1", start(authority="user@localhost")),
    ("8.3.1", start(authority="user:word@localhost:8000")),
    ("8.3.1", start(authority="localhost/v2")),
    ("8.3.1", start(authority="local host")),
    ("8.3.1", start(authority="localhost:port")),
    ("8.3.1", start(authority="[::1")),
    ("8.3.1", [*start(), ("host", "evil.example")]),
    ("8.3.1", [*start(), ("host", "localhost")]),
    ("8.3.1", [*start(authority=None), ("host", "user@localhost")]),
    ("8.3.1", [*start(authority=None), ("host", "a"), ("host", "b")]),
    ("8.5", start(method="CONNECT")),
    ("8.5", start(method="CONNECT", scheme=None, path=None)),
    # Lengths
    ("8.1.1", [*start(), ("content-length", "")]),
    ("8.1.1", [*start(), ("content-length", "-1")]),
    ("8.1.1", [*start(), ("content-length", "+1")]),
    ("8.1.1", [*start(), ("content-length", "1_0")]),
    ("8.1.1", [*start(), ("content-length", "0x1")]),
    ("8.1.1", [*start(), ("content-length", "0"), ("content-length", "0")]),
    ("8.1.1", [*start(), ("content-length", "0, 0")]),
    ("8.1.1", [*start(), ("content-length", "9" * 20)]),
]
"""Section of RFC 9113, if not of another, and fields."""


@pytest.mark.parametrize(("section", "fields"), MALFORMED)
async def test_a_malformed_request_is_an_error_of_its_stream(frames, section, fields):
    client, reader = frames
    await is_still_good(client, reader, 1)  # now a shape is known that it could be taken for
    await client.send(f.frame(f.HEADERS, END, 3, block(fields)))
    assert await reader.on(3) == (f.RST_STREAM, f.PROTOCOL_ERROR.to_bytes(4, "big")), section
    await is_still_good(client, reader, 5)


WELL_FORMED = [
    ("8.2.1", [*start(), ("x", "")], OK),
    ("8.2.1", [*start(), ("x", "a \t b")], OK),
    ("8.2.1", [*start(), ("x", "\xe4")], OK),
    ("8.2.1", [*start(), ("!#$%&'*+-.^_`|~09az", "a")], OK),
    ("8.2.2", [*start(), ("te", "trailers")], OK),
    ("8.2.3", [*start(), ("cookie", "a=b"), ("cookie", "c=d")], OK),
    ("8.3.1", [*start(), ("host", "localhost:8000")], OK),
    ("8.3.1", [*start(), ("host", "LOCALHOST:8000")], OK),
    ("8.3.1", [*start(authority=None), ("host", "localhost")], OK),
    ("8.3.1", start(authority=None), OK),
    ("8.3.1", start(authority="[::1]:8000"), OK),
    ("8.3.1", start(scheme="https"), OK),
    ("8.3.1", start(path="/v2?a=b/c?d"), OK),
    ("8.3.1", start(method="OPTIONS", path="*"), b"\x8d"),  # 404: well-formed, and nothing is there
    ("8.3", [*reversed(start())], OK),
    # Well-formed, and refused with an answer of our own.
    ("8.3.1", start(path="/v2%2fmodels"), b"\x8c"),  # 400
    ("8.3.1", start(path="/%ff"), b"\x8c"),
]


@pytest.mark.parametrize(("section", "fields", "status"), WELL_FORMED)
async def test_what_is_allowed_is_answered(frames, section, fields, status):
    client, reader = frames
    await client.send(f.frame(f.HEADERS, END, 1, block(fields)))
    kind, payload = await reader.on(1)
    assert kind == f.HEADERS, section
    assert payload[:1] == status or payload.startswith(f.literal(b":status", status_text(status)))


def status_text(indexed):
    return {OK: b"200", b"\x8c": b"400", b"\x8d": b"404"}[indexed]


TRAILERS = [
    ("8.1", [(":status", "200")]),
    ("8.1", [(":path", "/v2")]),
    ("8.2.1", [("X-Upper", "a")]),
    ("8.2.1", [("x", " a")]),
    ("8.2.1", [("x", "a\0")]),
    ("8.2.1", [("", "a")]),
    ("8.2.2", [("connection", "close")]),
    ("8.2.2", [("te", "gzip")]),
]


@pytest.mark.parametrize(("section", "fields"), TRAILERS)
async def test_trailers_are_held_to_the_same(frames, section, fields):
    client, reader = frames
    begin = block(start(method="POST", path="/v2/repository/index"))
    await client.send(
        f.frame(f.HEADERS, f.END_HEADERS, 1, begin) + f.frame(f.HEADERS, END, 1, block(fields))
    )
    assert await reader.on(1) == (f.RST_STREAM, f.PROTOCOL_ERROR.to_bytes(4, "big")), section
    await is_still_good(client, reader, 3)


async def test_good_trailers_end_a_request(frames):
    client, reader = frames
    begin = block(start(method="PUT"))
    end = block([("x-checksum", "a b")])
    await client.send(f.frame(f.HEADERS, f.END_HEADERS, 1, begin) + f.frame(f.HEADERS, END, 1, end))
    assert (await reader.on(1))[0] == f.HEADERS


HOST = b"Host: localhost\r\n"
BAD_1 = [
    ("9112 3", b"GET  /v2 HTTP/1.1\r\n" + HOST),
    ("9112 3", b"GET /v2  HTTP/1.1\r\n" + HOST),
    ("9112 3", b"GET /v2 HTTP/1.1 \r\n" + HOST),
    ("9112 3", b"GET\t/v2\tHTTP/1.1\r\n" + HOST),
    ("9112 3", b"GET /v2\r\n" + HOST),
    ("9112 3.1", b"G@T /v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET ?a HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET /v2#a HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET /v2\x01 HTTP/1.1\r\n" + HOST),
    ("9112 3.2.2", b"GET http://user@localhost/v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2.2", b"GET http:///v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2.3", b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST),
    ("9112 3.2.4", b"GET * HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET /v2 HTTP/1.1\r\n"),
    ("9112 3.2", b"GET /v2 HTTP/1.1\r\n" + HOST + HOST),
    ("9112 3.2", b"GET /v2 HTTP/1.1\r\nHost: user@localhost\r\n"),
    ("9112 3.2", b"GET /v2 HTTP/1.1\r\nHost: local host\r\n"),
    ("9112 2.3", b"GET /v2 http/1.1\r\n" + HOST),
    ("9112 2.3", b"GET /v2 HTTP/1.10\r\n" + HOST),
    ("9112 2.2", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n"),
    ("9112 2.2", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\nb\r\n"),
    ("9112 2.2", b"GET /v2 HTTP/1.1\r\n X: a\r\n" + HOST),
    ("9112 5.1", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X : a\r\n"),
    ("9112 5.2", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n"),
    ("9112 5.2", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n"),
    ("9110 5.1", b"GET /v2 HTTP/1.1\r\n" + HOST + b": a\r\n"),
    ("9110 5.1", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X\r\n"),
    ("9110 5.1", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X\xe4: a\r\n"),
    ("9110 5.5", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n"),
    ("9110 5.5", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: a\x1bb\r\n"),
    ("9112 6.3", b"GET /v2 HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 0\r\n"),
    ("9112 6.3", b"GET /v2 HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n"),
    ("9112 6.3", b"GET /v2 HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n"),
    ("9112 6.1", b"GET /v2 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n"),
    ("9112 6.1", b"GET /v2 HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"),
]


@pytest.mark.parametrize(("section", "head"), BAD_1)
async def test_a_malformed_request_over_http_1_1_is_answered_400(connect, section, head):
    client = await connect()
    await client.send(b"GET /v2 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (await client.answer())[0] == 200
    await client.send(head + b"\r\n")
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (400, "close"), section
    assert await client.rest() == b""


GOOD_1 = [
    ("9112 2.2", b"\r\nGET /v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2.2", b"GET http://localhost:8000/v2 HTTP/1.1\r\n" + HOST),
    ("9112 3.2", b"GET /v2 HTTP/1.0\r\n"),
    ("9112 3.2", b"GET /v2 HTTP/1.1\r\nHost:\r\n"),
    ("9112 5.1", b"GET /v2 HTTP/1.1\r\nhOST:localhost\t \r\n"),
    ("9110 5.5", b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: \xe4 \t b\r\nY:\r\n"),
]


@pytest.mark.parametrize(("section", "head"), GOOD_1)
async def test_what_is_allowed_over_http_1_1_is_answered(connect, section, head):
    client = await connect()
    await client.send(head + b"\r\n")
    assert (await client.answer())[0] == 200, section
