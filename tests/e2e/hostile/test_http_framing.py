"""Requests whose end two parsers could see in different places: refused, and the connection closed.

Behind `ingress: serve` uvicorn reads the bytes. It answers some of these differently (the table
in `FORGIVEN`), but never takes a second request out of the first one's body unless HTTP says so.
"""

import json
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
SMUGGLED = b"GET /v2/models/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*headers: bytes, body: bytes = BODY, version: bytes = b"HTTP/1.1") -> bytes:
    lines = [b"POST /v2/models/echo/infer " + version, b"Host: localhost", *headers, b"", body]
    return b"\r\n".join(lines)


def chunked(body: bytes, *headers: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *headers, body=body)


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"

FRAMING = {
    "length-and-chunked": chunked(CHUNK + END, LENGTH),
    "length-and-chunked-smuggling": chunked(END + SMUGGLED, b"Content-Length: 10"),
    "chunked-and-length-smuggling": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END + SMUGGLED
    ),
    "two-lengths": post(LENGTH, b"Content-Length: 3"),
    "two-lengths-in-one": post(b"Content-Length: %d, 3" % len(BODY)),
    "negative-length": post(b"Content-Length: -1"),
    "plus-length": post(b"Content-Length: +%d" % len(BODY)),
    "text-length": post(b"Content-Length: x"),
    "hexadecimal-length": post(b"Content-Length: 0x10"),
    "length-beyond-64-bits": post(b"Content-Length: 99999999999999999999999"),
    "unknown-transfer-encoding": post(b"Transfer-Encoding: cow", body=b""),
    "chunked-twice": post(b"Transfer-Encoding: chunked, chunked", body=CHUNK + END),
    "chunked-not-last": post(b"Transfer-Encoding: chunked, identity", body=CHUNK + END),
    "blank-before-colon": post(b"Transfer-Encoding : chunked", body=CHUNK + END),
    "vertical-tab-in-chunked": post(b"Transfer-Encoding: \x0bchunked", body=CHUNK + END),
    "chunk-size-text": chunked(b"xyz\r\n" + BODY + b"\r\n" + END),
    "chunk-size-negative": chunked(b"-1\r\n" + BODY + b"\r\n" + END),
    "chunk-size-0x": chunked(b"0x%x\r\n%b\r\n" % (len(BODY), BODY) + END),
    "chunk-size-too-long": chunked(b"f" * 40 + b"\r\n" + BODY + b"\r\n" + END),
    "chunk-longer-than-said": chunked(b"%x\r\n%b!!\r\n" % (len(BODY), BODY) + END),
    "chunk-ends-without-newline": chunked(b"%x\r\n%b" % (len(BODY), BODY) + END),
    "nul-in-trailer": chunked(CHUNK + b"0\r\nX-Evil: a\0b\r\n\r\n"),
    "chunk-ends-in-nul": chunked(b"%x\r\n%b\0\n" % (len(BODY), BODY) + END),
    "nul-in-value": post(LENGTH, b"X-Evil: a\0b"),
    "nul-in-name": post(LENGTH, b"X-Ev\0il: a"),
    "newline-in-name": post(LENGTH, b"X-Ev\nil: a"),
    "bare-cr-in-value": post(LENGTH, b"X-Evil: a\rX-Other: b"),
    "bare-cr-in-name": post(LENGTH, b"X-Ev\ril: b"),
    "no-colon": post(LENGTH, b"X-Evil"),
    "empty-name": post(LENGTH, b": a"),
    "blank-in-name": post(LENGTH, b"X Evil: a"),
    "folded-first": post(b" folded: a", LENGTH),
    "unicode-in-name": post(LENGTH, "X-\N{GRINNING FACE}: a".encode()),
    "no-host": b"POST /v2/models/echo/infer HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    "http-2.7": post(LENGTH, version=b"HTTP/2.7"),
    "http-x": post(LENGTH, version=b"HTTP/x"),
    "no-version": post(LENGTH, version=b""),
    "blank-in-path": post(LENGTH).replace(b"/echo/", b"/ec ho/"),
    "nul-in-path": post(LENGTH).replace(b"/echo/", b"/ec\0ho/"),
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "binary": bytes(range(256)) * 4,
    "smtp": b"EHLO vigil\r\n",
    "200-headers-of-1-kB": post(LENGTH, *[b"X-%d: " % n + b"a" * 1024 for n in range(200)]),
    "a-header-of-200-kB": post(LENGTH, b"X-Evil: " + b"a" * 200_000),
    "5000-headers": post(LENGTH, *[b"X-%d: a" % n for n in range(5000)]),
}

# What never ends a head: `direct` waits for the rest until `headers_timeout_s`, then says so.
ENDLESS = {"tls-hello", "binary", "smtp"}

# What a parser forgives; the answer is then the right one, to a request that was read once.
FORGIVEN = {
    "direct": {},
    "envoy": {"bare-cr-in-value": 200, "http-2.7": 200},
    "serve": {
        "no-host": 200,
        "200-headers-of-1-kB": 200,
        "a-header-of-200-kB": 200,
        "5000-headers": 200,
    },
}


@pytest.mark.parametrize("case", FRAMING)
def test_framing(wire: ModuleType, target: Any, case: str) -> None:
    with wire.connect(target.instance.http_port) as connection:
        connection.sendall(FRAMING[case])
        reply = wire.read_reply(connection)
        if case in FORGIVEN[target.ingress]:
            assert reply.status == FORGIVEN[target.ingress][case]
            assert json.loads(reply.body)["outputs"][0]["data"] == [1, 2, 3, 4]
            return
        allowed = {0, 400, 404, 426, 431, 501, 505}
        if target.ingress == "direct" and case in ENDLESS:
            allowed |= {408}
        assert reply.status in allowed, (reply.status, reply.body[:300])
        if reply.body and not target.differs("own-words"):
            (sentence,) = json.loads(reply.body).values()
            assert len(sentence) < 300
        assert b"smuggled" not in reply.body
        # A second answer would be one to what was smuggled.
        assert reply.closed
        assert wire.is_closed(connection)


LINES = {
    "connect": b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
    "connect-self": b"CONNECT 127.0.0.1:8002 HTTP/1.1\r\nHost: 127.0.0.1:8002\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "trace": b"TRACE /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Secret: canary\r\n\r\n",
    "long-method": b"A" * 10_000 + b" /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "long-path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("case", LINES)
def test_request_lines(wire: ModuleType, target: Any, case: str) -> None:
    reply = wire.exchange(target.instance.http_port, LINES[case])
    # Not 408, the timeout for slow clients: it is refused for what it is.
    assert reply.status in (0, 400, 404, 405, 426, 431, 501), (reply.status, reply.body[:200])
    assert b"canary" not in reply.body


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0", b"x, y"])
def test_an_upgrade_that_is_not_offered(wire: ModuleType, target: Any, protocol: bytes) -> None:
    headers = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol]
    headers += [b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Sec-WebSocket-Version: 13"]
    headers += [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Content-Length: 0"]
    lines = [b"GET /v2/health/live HTTP/1.1", b"Host: localhost", *headers, b"", b""]
    reply = wire.exchange(target.instance.http_port, b"\r\n".join(lines))
    assert reply.status in ((200, 400, 403, 426) if target.differs("own-words") else (200,))


@pytest.mark.parametrize("host", [b"localhost", b"evil.example", b"127.0.0.1:8002", b""])
@pytest.mark.parametrize("authority", [b"http://localhost", b"http://evil.example:1"])
def test_absolute_targets_are_answered_here(
    wire: ModuleType, target: Any, authority: bytes, host: bytes
) -> None:
    line = b"GET " + authority + b"/v2/health/live HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    reply = wire.exchange(target.instance.http_port, line)
    # Its own host counts where it is taken, and a foreign one is refused.
    allowed = (200, 400, 403, 404) if target.differs("own-words") else (200, 400, 403)
    assert reply.status in allowed
    assert reply.status != 200 or json.loads(reply.body) == {"live": True}


def test_requests_in_one_packet_are_answered_each_in_order(wire: ModuleType, target: Any) -> None:
    bodies = [BODY.replace(b"[1,2,3,4]", b"[%d,2,3,4]" % number) for number in range(20)]
    packet = b"".join(post(b"Content-Length: %d" % len(body), body=body) for body in bodies)
    with wire.connect(target.instance.http_port) as connection:
        connection.sendall(packet)
        # One reader for all of them, since several answers may come in one piece.
        with connection.makefile("rb") as stream:
            for number in range(20):
                status, _, rest = stream.readline().partition(b" ")
                assert rest.startswith(b"200"), (status, rest)
                length = 0
                while (line := stream.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answer = json.loads(stream.read(length))
                assert answer["outputs"][0]["data"] == [number, 2, 3, 4]


def test_a_good_chunked_request_with_extensions_and_trailers(wire: ModuleType, target: Any) -> None:
    body = b"%X;name=value\r\n%b\r\n0\r\nX-Trailer: a\r\n\r\n" % (len(BODY), BODY)
    reply = wire.exchange(target.instance.http_port, chunked(body))
    assert reply.status == 200 or (reply.status == 400 and target.differs("own-words")), reply.body


def test_http_1_0(wire: ModuleType, target: Any) -> None:
    reply = wire.exchange(target.instance.http_port, post(LENGTH, version=b"HTTP/1.0"))
    assert reply.status == 200
    assert json.loads(reply.body)["outputs"][0]["data"] == [1, 2, 3, 4]


def test_a_client_that_waits_for_100_continue(wire: ModuleType, target: Any) -> None:
    with wire.connect(target.instance.http_port) as connection:
        connection.sendall(post(LENGTH, b"Expect: 100-continue", body=b""))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert wire.read_reply(connection).status == 200


def test_an_expectation_that_nobody_fulfils(wire: ModuleType, target: Any) -> None:
    reply = wire.exchange(target.instance.http_port, post(LENGTH, b"Expect: a miracle"))
    assert reply.status in (200, 417)


@pytest.mark.parametrize("cut", [1, 10, len(post(LENGTH)) - len(BODY), len(post(LENGTH)) - 1])
def test_a_client_that_goes_away_in_the_middle(wire: ModuleType, target: Any, cut: int) -> None:
    for _ in range(20):
        with wire.connect(target.instance.http_port) as connection:
            connection.sendall(post(LENGTH)[:cut])
