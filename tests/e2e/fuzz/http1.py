"""Not a test: valid HTTP/1.1 requests, and the ways in which they are made invalid or unusual."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
INFER = b"/v2/models/echo/infer"
SMUGGLED = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""Stands in a body. Where one ingress takes it for a request, its answer is one too many."""
MARKER = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""Ends every case: whoever has read what came before it rightly answers it and closes."""


@dataclass
class Request:
    """A request in pieces; `chunks` is None where the body has a length."""

    method: bytes = b"POST"
    target: bytes = INFER
    version: bytes = b"HTTP/1.1"
    headers: list[bytes] = field(default_factory=list)
    body: bytes = BODY
    chunks: list[bytes] | None = None
    line: bytes = b"%b %b %b\r\n"
    before: bytes = b""
    end: bytes = b"\r\n"

    def wire(self) -> bytes:
        first = self.before + self.line % (self.method, self.target, self.version)
        head = b"".join(header + self.end for header in self.headers)
        return (
            first + head + b"\r\n" + (self.body if self.chunks is None else b"".join(self.chunks))
        )


def valid(generator: random.Random) -> Request:
    """Return a request that everybody answers with 200."""
    if generator.random() < 0.25:
        target = generator.choice(
            [b"/v2", b"/v2/health/live", b"/v2/models/echo", b"/v2/health/ready"]
        )
        return Request(b"GET", target, headers=[b"Host: localhost"], body=b"")
    number = b"%d" % generator.randrange(1000)
    body = BODY.replace(b"[1,2,3,4]", b"[" + number + b",2,3,4]")
    request = Request(headers=[b"Host: localhost", b"Content-Type: application/json"], body=body)
    if generator.random() < 0.5:
        request.headers.append(b"Content-Length: %d" % len(body))
        return request
    request.headers.append(b"Transfer-Encoding: chunked")
    cut = generator.randrange(1, len(body))
    pieces = [body] if generator.random() < 0.3 else [body[:cut], body[cut:]]
    request.chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
    return request


def _replace(request: Request, name: bytes, *lines: bytes) -> None:
    """Put `lines` where the header `name` is, or at the end."""
    at = [i for i, line in enumerate(request.headers) if line.lower().startswith(name + b":")]
    where = at[0] if at else len(request.headers)
    request.headers[where : where + len(at)] = lines


def _method(g: random.Random, r: Request) -> None:
    r.method = g.choice([b"post", b"PUT", b"DELETE", b"", b"PO ST", b"PO\tST", b"X" * 40, b"P@ST",
                         b"HEAD", b"TRACE", b"CONNECT", b"PRI", b"SOURCE", b"PATCH"])  # fmt: skip


def _target(g: random.Random, r: Request) -> None:
    t = r.target
    r.target = g.choice([
        b"http://localhost" + t, b"https://localhost:8000" + t, b"//" + t, b"/./v2/.." + t,
        t + b"/",
        t.replace(b"/v2", b"/%76%32"), t + b"?a=b&c", t + b"?", t + b"#f", t + b"%", t + b"%zz",
        t.replace(b"/v2/", b"/v2%2f"), t + b"%00", t + b"%ff", b"*", b"", t[1:], b"/" + b"a" * 9000,
        t + b"?q=" + bytes([g.randrange(128, 256)]), t + bytes([g.randrange(128, 256)]),
        t + b"\x7f", t + b"\x01", t.replace(b"/v2", b"/v2\\"), b"localhost:80",
        b"ftp://localhost" + t,
        t + b"%2e%2e", t + b";x=y", t + b"|", t + b'"', t + b"<>", t + b"\t",
    ])  # fmt: skip


def _version(g: random.Random, r: Request) -> None:
    r.version = g.choice([b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10",
                          b"HTTP/11",
                          b"HTTP/0.9", b"", b"HTTP/1.1x", b"HTTP/ 1.1", b"HTTPS/1.1",
                          b"RTSP/1.0"])  # fmt: skip


def _line(g: random.Random, r: Request) -> None:
    r.line = g.choice([b"%b  %b %b\r\n", b"%b %b  %b\r\n", b"%b\t%b %b\r\n", b"%b %b\t%b\r\n",
                       b" %b %b %b\r\n", b"%b %b %b \r\n", b"%b %b %b\n", b"%b %b %b\r\r\n",
                       b"%b %b %b\r", b"%b %b %b\r\n\r\n"])  # fmt: skip


def _before(g: random.Random, r: Request) -> None:
    r.before = g.choice([b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\0", b"\r", b"\xef\xbb\xbf"])


def _line_end(g: random.Random, r: Request) -> None:
    r.end = g.choice([b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\0\r\n", b" \r\n", b"\t\r\n"])


def _header(g: random.Random, r: Request) -> None:
    byte = bytes([g.choice([0, 1, 7, 8, 11, 12, 13, 27, 31, 127, 128, 160, 255])])
    line = g.choice([
        b"X-A : b", b"X-A: ", b"X-A:", b"X-A", b": b", b" X-A: b", b"\tX-A: b", b"X A: b",
        b"X-A\t: b",
        b"X-A: b" + byte + b"c", b"X-A: " + byte, b"X" + byte + b"A: b", b"X(A): b", b"X_A: b",
        b"X-A: " + b"b" * 9000, b"X-A: b\r\n folded", b"X-A: b\r\n\tfolded", b"X/A: b", b'X"A: b',
        b"X-A:b", b"X-A:   b   ", b"X-A:\tb\t", b"Cookie: a=b; c=d", b"X-A: \"b", b"X{A}: b",
    ])  # fmt: skip
    r.headers.insert(g.randrange(len(r.headers) + 1), line)


def _many_headers(g: random.Random, r: Request) -> None:
    r.headers += [b"X-%d: a" % n for n in range(g.choice([50, 96, 99, 101, 150, 300]))]


def _host(g: random.Random, r: Request) -> None:
    _replace(r, b"host", *g.choice([
        (), (b"Host: localhost", b"Host: localhost"), (b"Host: a", b"Host: b"), (b"Host:",),
        (b"Host: a b",),
        (b"Host: a,b",), (b"Host: a/b",), (b"Host: user@localhost",), (b"Host: localhost:99999",),
        (b"Host: [::1]:80",), (b"host: localhost",), (b"HOST: localhost:80",), (b"Host: [::1",),
        (b"Host: a\0",),
        (b"Host: \xe9",),
    ]))  # fmt: skip


def _length(g: random.Random, r: Request) -> None:
    n = b"%d" % len(r.body)
    _replace(r, b"content-length", *(b"Content-Length:" + value for value in g.choice([
        (b" +" + n,), (b" -" + n,), (b" 0x10",), (b" 000" + n,), (b" " + n + b", " + n,),
        (b" " + n, b" " + n), (b" " + n, b" 3"), (b" 3", b" " + n), (b"",), (b" " + n + b" ",),
        (b"\t" + n,), (b" 99999999999999999999999",), (b" " + n + b";",), (b" 1e2",), (b" 1_0",),
        (b" %d" % (len(r.body) + 1),), (b" %d" % max(0, len(r.body) - 1),), (b" 0",),
        (b" " + n + b"\0",), (b" \x0b" + n,), (b" " + n + b".0",), (b" ,"  + n,), (b" \xd9\xa3",),
    ])))  # fmt: skip


def _coding(g: random.Random, r: Request) -> None:
    lines = [b"Transfer-Encoding:" + value for value in g.choice([
        (b" Chunked",), (b" chunked ",), (b" chunked,",), (b" ,chunked",), (b" gzip, chunked",),
        (b" identity",), (b" chunked, chunked",), (b" chunked", b" chunked"), (b" chunked;q=1",),
        (b" chunked", b" identity"), (b" identity", b" chunked"), (b"\tchunked",),
        (b" \x0bchunked",),
        (b" xchunked",), (b" chunkedx",), (b"",), (b' "chunked"',), (b" chunked\0",), (b" chunk",),
        (b" chunked\r\n ",), (b" trailers, chunked",),
    ])]  # fmt: skip
    _replace(r, b"transfer-encoding", *lines)


def _length_and_coding(g: random.Random, r: Request) -> None:
    size = len(r.body if r.chunks is None else b"".join(r.chunks))
    extra = [b"Content-Length: %d" % g.choice([size, 0, 5]), b"Transfer-Encoding: chunked"]
    g.shuffle(extra)
    names = (b"content-length", b"transfer-encoding")
    r.headers = [line for line in r.headers if not line.lower().startswith(names)] + extra


def _chunk_size(g: random.Random, r: Request) -> None:
    body = r.body
    size = b"%x" % len(body)
    line = g.choice([
        size.upper() + b"\r\n", b"000" + size + b"\r\n", b"0x" + size + b"\r\n",
        b"+" + size + b"\r\n",
        b"-" + size + b"\r\n", b" " + size + b"\r\n", size + b" \r\n", size + b"\t\r\n",
        size + b"\n",
        size + b"\r", size + b";a=b\r\n", size + b";a\r\n", size + b";\r\n", size + b" ;a=b\r\n",
        size + b';a="b;c"\r\n', size + b';a="b\r\n', size + b";a=\0\r\n", size + b";a\nb\r\n",
        b"f" * 17 + size + b"\r\n", size + b";" + b"a" * 5000 + b"\r\n", b"\r\n", b"g\r\n",
        size + b",\r\n",
        b"0" * 30 + size + b"\r\n", size + b"h\r\n", size + b";\x7f\r\n", size + b";a\rb\r\n",
    ])  # fmt: skip
    _replace(r, b"content-length")
    _replace(r, b"transfer-encoding", b"Transfer-Encoding: chunked")
    r.chunks = [line, body, b"\r\n", b"0\r\n\r\n"]


def _chunk_data(g: random.Random, r: Request) -> None:
    body = r.body
    head = b"%x\r\n" % len(body)
    _replace(r, b"content-length")
    _replace(r, b"transfer-encoding", b"Transfer-Encoding: chunked")
    r.chunks = g.choice([
        [head, body, b"\n", b"0\r\n\r\n"], [head, body, b"0\r\n\r\n"],
        [head, body, b"\r", b"0\r\n\r\n"],
        [head, body, b"!!\r\n", b"0\r\n\r\n"], [head, body, b"\r\n", b"0\n\n"],
        [head, body, b"\r\n", b"0\r\n\n"], [head, body, b"\r\n", b"0\n\r\n"],
        [head, body, b"\r\n", b"00\r\n\r\n"], [head, body, b"\r\n", b"0;a=b\r\n\r\n"],
        [head, body, b"\r\n", b"0 \r\n\r\n"], [head, body, b"\r\n"],
        [head, body[:-3], b"\r\n0\r\n\r\n"],
        [head, body, b"\r\n\r\n", b"0\r\n\r\n"], [head, body, b"\0\n0\r\n\r\n"],
        [head, body, b"\n\r", b"0\r\n\r\n"],
    ])  # fmt: skip


def _trailers(g: random.Random, r: Request) -> None:
    body = r.body
    trailer = g.choice([
        b"X-T: a\r\n", b"X-T: a\r\nX-U: b\r\n", b"Content-Length: 3\r\n", b"X-T\r\n",
        b"X-T: a\0b\r\n",
        b" X-T: a\r\n", b"X-T : a\r\n", b": a\r\n", b"X-T: a\n", b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n", b"X-T: " + b"a" * 9000 + b"\r\n", b"X-T: a\rb\r\n", b"X T: a\r\n",
    ])  # fmt: skip
    _replace(r, b"content-length")
    _replace(r, b"transfer-encoding", b"Transfer-Encoding: chunked")
    r.chunks = [b"%x\r\n%b\r\n" % (len(body), body), b"0\r\n" + trailer + b"\r\n"]


def _wishes(g: random.Random, r: Request) -> None:
    r.headers.append(g.choice([
        b"Connection: close", b"Connection: keep-alive", b"Connection: x-a, close",
        b"Connection: ,",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", b"Expect: 100-continue",
        b"Connection: Upgrade\r\nUpgrade: websocket", b"Expect: a miracle",
        b"Connection: content-length",
        b"Connection: CLOSE", b"Keep-Alive: timeout=5", b"Proxy-Connection: close",
        b"Upgrade: TLS/1.0",
        b"Accept-Encoding: gzip", b"Content-Encoding: gzip", b"Content-Encoding: br",
        b"TE: trailers",
        b"Range: bytes=0-1", b"If-None-Match: *", b"Inference-Header-Content-Length: 5",
        b"Content-Type: application/grpc", b"Content-Type: application/grpc-web",
    ]))  # fmt: skip


def _smuggle(g: random.Random, r: Request) -> None:
    r.body = SMUGGLED
    r.headers = [b"Host: localhost", b"Content-Length: %d" % len(SMUGGLED)]
    r.chunks, r.method, r.target = None, b"POST", INFER
    g.choice([_length, _coding, _length_and_coding, _line_end, _header])(g, r)


OPERATORS: dict[str, Callable[[random.Random, Request], None]] = {
    "method": _method, "target": _target, "version": _version, "request line": _line,
    "before": _before, "line end": _line_end, "header": _header, "many headers": _many_headers,
    "host": _host, "length": _length, "coding": _coding, "length and coding": _length_and_coding,
    "chunk size": _chunk_size, "chunk data": _chunk_data, "trailers": _trailers, "wishes": _wishes,
    "smuggle": _smuggle,
}  # fmt: skip


def pieces(request: Request) -> tuple[bytes, ...]:
    """Return what is sent of one request: it and the marker."""
    return (request.wire() + MARKER,)


def noisy(generator: random.Random, wire: bytes) -> bytes:
    """Return `wire` with one byte or few changed, put in or taken out."""
    text = bytearray(wire)
    at = generator.randrange(len(text))
    some = bytes(generator.choice(b"\0\t\n\r ,:;=0159afAFxX/%\x7f\x80\xff") for _ in range(2))
    text[at : at + generator.randrange(3)] = some[: generator.randrange(3)]
    return bytes(text)


def case(generator: random.Random) -> tuple[tuple[bytes, ...], frozenset[str]]:
    """Return a case as what is sent, in one piece, and how it was made."""
    requests, used = [valid(generator) for _ in range(generator.choice([1, 1, 2]))], set()
    for _ in range(generator.choice([1, 1, 1, 2])):
        name = generator.choice([*OPERATORS, "noise"])
        used.add(name)
        if name != "noise":
            OPERATORS[name](generator, requests[-1])
    wire = b"".join(request.wire() for request in requests)
    return (noisy(generator, wire) + MARKER if "noise" in used else wire + MARKER,), frozenset(used)
