"""Not a test: valid HTTP/2 requests as frames, and the ways in which they are made invalid.

A case is two pieces. The first has a request on stream 1, the subject. The second is sent when that
is answered or refused, and has a good request on stream 101, the marker: whether it is answered
tells if the connection lives.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import hpack
import numpy as np
from tritonclient.grpc import service_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32
SUBJECT, MARKER = 1, 101
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
Pair = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def literal(name: bytes, value: bytes, first: int = 0x00) -> bytes:
    """Return a header field as HPACK's literal with a new name; `first`: 0 not, 64 indexed."""
    return bytes((first,)) + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, found = len(text) - 127, b"\x7f"
    while rest > 127:
        found += bytes((rest & 127 | 128,))
        rest >>= 7
    return found + bytes((rest,)) + text


@dataclass
class Request:
    """The subject in pieces, and the frames around it."""

    pairs: list[Pair]
    body: list[bytes]
    stream: int = SUBJECT
    settings: bytes = b""
    before: bytes = b""
    between: bytes = b""
    after: bytes = b""
    block: bytes | None = None
    headers: Callable[[bytes, int], bytes] | None = None
    data: Callable[[list[bytes]], bytes] | None = None
    prefix: bytes = b""

    def pieces(self) -> tuple[bytes, bytes]:
        block = self.block
        if block is None:
            block = self.prefix + b"".join(literal(*pair) for pair in self.pairs)
        ends = 0 if self.body or self.data else END_STREAM
        if self.headers:
            opening = self.headers(block, ends)
        else:
            opening = frame(HEADERS, END_HEADERS | ends, self.stream, block)
        first = PREFACE + frame(SETTINGS, 0, 0, self.settings) + self.before + opening
        first += self.between + (self.data or self._plain)(self.body)
        marker = b"".join(literal(*pair) for pair in pairs(b"GET", b"/v2/health/live"))
        return first, self.after + frame(HEADERS, 5, MARKER, marker)

    def _plain(self, body: list[bytes]) -> bytes:
        last = len(body) - 1
        return b"".join(
            frame(DATA, END_STREAM * (at == last), self.stream, piece)
            for at, piece in enumerate(body)
        )


def pairs(method: bytes, path: bytes) -> list[Pair]:
    """Return the pseudo-headers of a request."""
    return [
        (b":method", method),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
    ]


def valid(g: random.Random) -> Request:
    """Return a request that everybody answers."""
    kind = g.random()
    if kind < 0.2:
        return Request(pairs(b"GET", g.choice([b"/v2", b"/v2/models/echo"])), [])
    number = g.randrange(1000)
    if kind < 0.6:
        body = BODY.replace(b"[1,2,3,4]", b"[%d,2,3,4]" % number)
        head = pairs(b"POST", b"/v2/models/echo/infer")
    else:
        message = service_pb2.ModelInferRequest(model_name="echo")
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        message.raw_input_contents.append(np.full(4, number, np.float32).tobytes())
        text = message.SerializeToString()
        body = b"\0" + len(text).to_bytes(4, "big") + text
        head = pairs(b"POST", b"/inference.GRPCInferenceService/ModelInfer")
        head += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    cut = g.randrange(1, len(body))
    return Request(head, [body] if g.random() < 0.5 else [body[:cut], body[cut:]])


def _set(r: Request, name: bytes, *values: bytes) -> None:
    where = [i for i, (known, _) in enumerate(r.pairs) if known == name]
    at = where[0] if where else len(r.pairs)
    r.pairs[at : at + len(where)] = [(name, value) for value in values]


def _pseudo(g: random.Random, r: Request) -> None:
    name = g.choice([b":method", b":scheme", b":path", b":authority"])
    how = g.randrange(6)
    known = dict(r.pairs).get(name, b"a")
    if how == 0:
        _set(r, name)
    elif how == 1:
        _set(r, name, known, known)
    elif how == 2:
        _set(r, name)
        r.pairs += [(b"x-a", b"b"), (name, known)]
    elif how == 3:
        r.pairs.insert(0, (g.choice([b":status", b":protocol", b":x", b":", b":Path"]), b"200"))
    elif how == 4:
        g.shuffle(r.pairs)
    else:
        _set(r, name, b"")


def _method(g: random.Random, r: Request) -> None:
    _set(r, b":method", g.choice([b"get", b"HEAD", b"PUT", b"CONNECT", b"P ST", b"POST\0",
                                  b"X" * 50,
                                  b"TRACE", b"OPTIONS", b"\xff", b"P(ST", b" POST"]))  # fmt: skip


def _path(g: random.Random, r: Request) -> None:
    p = dict(r.pairs).get(b":path", b"/")
    _set(r, b":path", g.choice([
        p[1:], b"*", b"http://localhost" + p, p + b"#f", p + b"?a=b", p + b" x", p + b"\t",
        p + b"%",
        p + b"%00",
        p + b"%zz", b"//" + p, b"/./a/.." + p, p + b"\x7f", p + b"\x80", p.replace(b"/", b"\\"),
        p + b"/",
        p + b"\0", p + b"\r\n", b"/" + b"a" * 9000, p + b"%2e%2e", p + b"%2f", b"?" + p, b"a:" + p,
    ]))  # fmt: skip


def _scheme(g: random.Random, r: Request) -> None:
    _set(r, b":scheme", g.choice([b"https", b"HTTP", b"ftp", b"ht tp", b"http:", b"\0", b"grpc"]))


def _authority(g: random.Random, r: Request) -> None:
    value = g.choice([b"user@localhost", b"user:pw@localhost", b"a b", b"a/b", b"localhost:99999",
                      b"a,b",
                      b"[::1]:80",
                      b"localhost\0", b"\xe9", b"localhost:80", b"[::1", b"a?b",
                      b"a#b"])  # fmt: skip
    _set(r, b":authority", value)


def _host(g: random.Random, r: Request) -> None:
    if g.random() < 0.3:
        _set(r, b":authority")
    r.pairs += [(b"host", value) for value in g.choice([
        (b"localhost",), (b"other",), (b"localhost", b"localhost"), (b"a", b"b"), (b"",), (b"a b",),
        (b"LOCALHOST",),
        (b"localhost:80",), (b"u@localhost",),
    ])]  # fmt: skip


def _name(g: random.Random, r: Request) -> None:
    name = g.choice([b"X-A", b"x a", b"x\0a", b"", b"x:a", b"x\ra", b"x\na", b"x(a)", b"x_a",
                     b"x\xe9", b"x\x7f",
                     b" x-a", b"x-a ", b"x\ta", b'x"a', b"x/a", b"x{a}", b"x" * 5000])  # fmt: skip
    r.pairs.insert(g.randrange(4, len(r.pairs) + 1), (name, b"b"))


def _value(g: random.Random, r: Request) -> None:
    value = g.choice([b"a\0b", b"a\rb", b"a\nb", b" a", b"a ", b"\ta", b"a\t", b"", b"a\x7fb",
                      b"a\x01b",
                      b"\xe9", b"\x80\xff", b"a" * 9000, b" ", b"a\r\nb: c", b"a\x0bb",
                      b"\x1b[0m"])  # fmt: skip
    r.pairs.append((b"x-a", value))


def _connection_header(g: random.Random, r: Request) -> None:
    r.pairs.append(g.choice([
        (b"connection", b"close"), (b"keep-alive", b"1"), (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"te", b"gzip"),
        (b"te", b"trailers"),
        (b"te", b"trailers, gzip"), (b"te", b"TRAILERS"), (b"connection", b"x-a"),
        (b"http2-settings", b"a"),
        (b"expect", b"100-continue"), (b"trailer", b"x-t"), (b"content-encoding", b"gzip"),
        (b"te", b""), (b"connection", b""),
    ]))  # fmt: skip


def _length(g: random.Random, r: Request) -> None:
    size = sum(map(len, r.body))
    r.pairs += [(b"content-length", value) for value in g.choice([
        (b"%d" % size,), (b"%d" % (size + 1),), (b"%d" % max(0, size - 1),), (b"0",), (b"-1",),
        (b"+%d" % size,), (b"0x1",), (b"",), (b"%d" % size, b"%d" % size), (b"%d" % size, b"3"),
        (b"%d, %d" % (size, size),), (b"000%d" % size,), (b"9" * 25,), (b" %d" % size,),
        (b"%d " % size,),
        (b"1" + b"0" * 12,), (b"x",), (b"%d.0" % size,),
    ])]  # fmt: skip


def _many(g: random.Random, r: Request) -> None:
    count, size = g.choice([(50, 1), (95, 1), (110, 1), (300, 1), (20, 2000), (60, 2000)])
    r.pairs += [(b"x-%d" % n, b"a" * size) for n in range(count)]
    r.headers = _split(g, r.stream)


def _split(g: random.Random, stream: int) -> Callable[[bytes, int], bytes]:
    """Frames of a block in HEADERS and CONTINUATION."""
    count = g.randrange(1, 6)

    def write(block: bytes, ends: int) -> bytes:
        step = min(16384, len(block) // count + 1)
        parts = [block[at : at + step] for at in range(0, len(block), step)] or [b""]
        made = frame(HEADERS, ends | (END_HEADERS if len(parts) == 1 else 0), stream, parts[0])
        for at, part in enumerate(parts[1:], 2):
            made += frame(CONTINUATION, END_HEADERS * (at == len(parts)), stream, part)
        return made

    return write


def _continuation(g: random.Random, r: Request) -> None:
    stream, how = r.stream, g.randrange(7)

    def write(block: bytes, ends: int) -> bytes:
        cut = len(block) // 2
        first = frame(HEADERS, ends, stream, block[:cut])
        last = frame(CONTINUATION, END_HEADERS, stream, block[cut:])
        return [
            first + last,
            first + frame(PING, 0, 0, bytes(8)) + last,
            first + frame(CONTINUATION, END_HEADERS, stream + 2, block[cut:]),
            first + frame(CONTINUATION, 0, stream) * 3 + last,
            first + last + frame(CONTINUATION, END_HEADERS, stream, b""),
            first + frame(0xFA, 0, 0, b"?") + last,
            frame(CONTINUATION, END_HEADERS, stream, block),
        ][how]

    r.headers = write


def _head_flags(g: random.Random, r: Request) -> None:
    stream, how = r.stream, g.randrange(9)

    def write(block: bytes, ends: int) -> bytes:
        flags = END_HEADERS | ends
        dependency = stream.to_bytes(4, "big")
        return [
            frame(HEADERS, flags | PADDED, stream, b"\x05" + block + bytes(5)),
            frame(HEADERS, flags | PADDED, stream, b"\xff" + block),
            frame(HEADERS, flags | PADDED, stream, b"\x03" + block + b"abc"),
            frame(HEADERS, flags | WITH_PRIORITY, stream, b"\0\0\0\0\x10" + block),
            frame(HEADERS, flags | WITH_PRIORITY, stream, dependency + b"\x10" + block),
            frame(HEADERS, flags | WITH_PRIORITY, stream, b"\x80\0\0\x03\x10" + block),
            frame(HEADERS, flags | 0x52, stream, block),
            frame(HEADERS, flags, stream | 1 << 31, block),
            frame(HEADERS, flags | PADDED, stream, b""),
        ][how]

    r.headers = write


def _stream_id(g: random.Random, r: Request) -> None:
    how = g.randrange(4)
    block = b"".join(literal(*pair) for pair in pairs(b"GET", b"/v2/health/live"))
    if how == 0:  # even, or of the connection
        r.before = frame(HEADERS, 5, g.choice([0, 2, 4]), block)
    elif how == 1:  # one that is passed already
        r.after = frame(HEADERS, 5, MARKER + 2, block) + frame(HEADERS, 5, 3, block)
    elif how == 2:
        r.after = frame(HEADERS, 5, SUBJECT, block)
    else:
        r.after = frame(DATA, 0, SUBJECT, b"x")


def _hpack(g: random.Random, r: Request) -> None:
    block = b"".join(literal(*pair) for pair in r.pairs)
    encoder = hpack.Encoder()
    r.block = g.choice([
        b"\x20" + block, b"\x3f\xe1\x1f" + block, b"\x3f\xe2\x1f" + block, block + b"\x20",
        block + b"\x80",
        block + b"\xff\xff\xff\xff\xff\xff\xff\x7f", block + b"\xfe", block[:-1],
        block + b"\x40\x81\xff\x01b",
        block + b"\x00\x81\x00\x01b", block + b"\x00\x82\xff\xff\x01b",
        block + b"\x7f\xff\x7f\x01b",
        block + b"\x00\x01x\x7f\xff\xff\xff\xff\x0f", block + b"\x00",
        block + b"\x3f\xff\xff\xff\x7f",
        b"\x20\x20\x20" + block, b"\x20\x3f\xe1\x1f" + block, b"", block + b"\x10\x01x\x01y",
        b"".join(literal(*pair, first=0x40) for pair in r.pairs),
        b"".join(literal(*pair, first=0x10) for pair in r.pairs),
        bytes(encoder.encode(r.pairs)), bytes(encoder.encode(r.pairs, huffman=False)),
        block + b"\x40\x83\xff\xff\xff\x01b", block + b"\xbe",
        block + b"\x0f\x80\x80\x80\x80\x80\x80\x00\x01b",
    ])  # fmt: skip


def _other_frame(g: random.Random, r: Request) -> None:
    bad = g.choice([
        frame(SETTINGS, 0, 0, bytes(5)), frame(SETTINGS, 0, 1, b""),
        frame(SETTINGS, 1, 0, bytes(6)),
        frame(SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"),
        frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"),
        frame(SETTINGS, 0, 0, b"\0\x05\xff\xff\xff\xff"),
        frame(SETTINGS, 0, 0, b"\0\x99\0\0\0\x01"), frame(SETTINGS, 0, 0, b"\0\x01\0\0\0\0"),
        frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\0"), frame(SETTINGS, 1, 0, b""),
        frame(PING, 0, 0, bytes(7)), frame(PING, 0, 1, bytes(8)), frame(PING, 0, 0, bytes(8)),
        frame(PING, 1, 0, bytes(8)), frame(PING, 0xFE, 0, bytes(8)),
        frame(PRIORITY, 0, 0, bytes(5)), frame(PRIORITY, 0, 3, bytes(4)),
        frame(PRIORITY, 0, 3, b"\0\0\0\x03\0"),
        frame(PRIORITY, 0, 3, bytes(5)), frame(PRIORITY, 0, 1, bytes(5)),
        frame(RST, 0, 0, bytes(4)), frame(RST, 0, 33, bytes(4)), frame(RST, 0, 33, bytes(3)),
        frame(WINDOW, 0, 0, bytes(4)), frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"),
        frame(WINDOW, 0, 0, bytes(3)),
        frame(WINDOW, 0, 33, b"\0\0\0\x01"), frame(WINDOW, 0, 0, b"\0\0\0\x01"),
        frame(WINDOW, 0, 0, b"\x80\0\0\x01"),
        frame(GOAWAY, 0, 1, bytes(8)), frame(GOAWAY, 0, 0, bytes(7)),
        frame(PUSH, 4, 1, bytes(4)), frame(0x0A, 0, 0, b"x"), frame(0xFF, 0xFF, 1, b"x" * 100),
        frame(DATA, 0, 0, b"x"), frame(DATA, 0, 33, b"x"), frame(DATA, 0, 2, b"x"),
        frame(CONTINUATION, 4, 1, b""),
        frame(DATA, 0, 33, bytes(16385)), frame(0x20, 0, 0, bytes(16385)),
        frame(PING, 0, 0, bytes(16385)),
    ])  # fmt: skip
    where = g.choice(["before", "between", "after"])
    setattr(r, where, getattr(r, where) + bad)


def _subject_frame(g: random.Random, r: Request) -> None:
    """A frame on the subject's own stream between its head and its body."""
    if not r.body:
        r.body = [b"{}"]
    s = r.stream
    r.between += g.choice([
        frame(WINDOW, 0, s, bytes(4)), frame(WINDOW, 0, s, b"\x7f\xff\xff\xff"),
        frame(WINDOW, 0, s, bytes(5)),
        frame(RST, 0, s, bytes(4)), frame(RST, 0, s, bytes(3)), frame(PRIORITY, 0, s, bytes(4)),
        frame(PRIORITY, 0, s, s.to_bytes(4, "big") + b"\0"), frame(0x0B, 0, s, b"x"),
        frame(DATA, 0, s, b""),
        frame(HEADERS, 4, s, literal(b"x-t", b"a")), frame(WINDOW, 0, s, b"\0\0\0\x01"),
        frame(PRIORITY, 0, s, bytes(5)),
    ])  # fmt: skip


def _data(g: random.Random, r: Request) -> None:
    s, how = r.stream, g.randrange(13)
    if not r.body:
        r.body = [b"{}"]

    def write(body: list[bytes]) -> bytes:
        whole = b"".join(body)
        trailer = literal(b"x-t", b"a")
        return [
            frame(DATA, 9, s, b"\x04" + whole + bytes(4)),
            frame(DATA, 9, s, b"\xff" + whole),
            frame(DATA, 9, s, b"\x04" + whole + b"abcd"),
            frame(DATA, 9, s, b""),
            frame(DATA, 0, s, whole),
            b"".join(frame(DATA, 0, s, bytes((b,))) for b in whole) + frame(DATA, 1, s),
            frame(DATA, 0, s, whole) + frame(HEADERS, 5, s, trailer),
            frame(DATA, 0, s, whole) + frame(HEADERS, 4, s, trailer),
            frame(DATA, 0, s, whole) + frame(HEADERS, 5, s, literal(b":path", b"/")),
            frame(DATA, 0, s, whole) + frame(HEADERS, 5, s, literal(b"X-T", b"a")),
            frame(DATA, 0, s, whole) + frame(HEADERS, 1, s, trailer) + frame(CONTINUATION, 4, s),
            frame(DATA, 0, s, whole) + frame(DATA, 0, s) * 3 + frame(DATA, 1, s),
            frame(DATA, 0xF1 & ~8, s, whole),
        ][how]

    r.data = write


def _message(g: random.Random, r: Request) -> None:
    """What gRPC's own framing can get wrong."""
    whole = b"".join(r.body)
    r.body = [g.choice([
        whole[:-1], whole + b"x", b"\1" + whole[1:], b"\2" + whole[1:], whole[:4], whole[:5],
        whole + whole,
        whole[:1] + b"\xff\xff\xff\xff" + whole[5:], b"\0\0\0\0\0", whole[:5] + b"\xff" * 10,
    ]) or b"x"]  # fmt: skip


def _grpc_header(g: random.Random, r: Request) -> None:
    r.pairs += [g.choice([
        (b"grpc-timeout", b"1S"), (b"grpc-timeout", b"x"), (b"grpc-timeout", b"999999999S"),
        (b"grpc-timeout", b"-1S"), (b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"br"),
        (b"grpc-encoding", b"identity"), (b"grpc-accept-encoding", b"gzip"), (b"x-bin", b"%%%"),
        (b"x-bin", b"AAA"), (b"user-agent", b""), (b"content-type", b"application/grpc+proto"),
    ])]  # fmt: skip


def _settings(g: random.Random, r: Request) -> None:
    r.settings = g.choice([
        b"\0\x01\0\0\0\0", b"\0\x01\0\0\xff\xff", b"\0\x02\0\0\0\0", b"\0\x02\0\0\0\x01",
        b"\0\x02\0\0\0\x02",
        b"\0\x03\0\0\0\0", b"\0\x04\x7f\xff\xff\xff", b"\0\x04\x80\0\0\0", b"\0\x05\0\0\x3f\xff",
        b"\0\x05\0\xff\xff\xff", b"\0\x05\x01\0\0\0", b"\0\x06\0\0\0\x01", b"\x12\x34\0\0\0\x01",
        b"\0",
        b"\0\x08\0\0\0\x01", b"\0\x08\0\0\0\x02", b"\0\x04\0\0\xff\xff" * 3,
    ])  # fmt: skip


OPERATORS: dict[str, Callable[[random.Random, Request], None]] = {
    "pseudo": _pseudo, "method": _method, "path": _path, "scheme": _scheme, "authority": _authority,
    "host": _host, "name": _name, "value": _value, "connection header": _connection_header,
    "length": _length, "many headers": _many, "continuation": _continuation,
    "head flags": _head_flags,
    "stream id": _stream_id, "hpack": _hpack, "other frame": _other_frame,
    "subject frame": _subject_frame, "data": _data, "message": _message,
    "grpc header": _grpc_header,
    "settings": _settings,
}  # fmt: skip


def pieces(request: Request) -> tuple[bytes, ...]:
    """Return what is sent of a request, and then of the marker."""
    return request.pieces()


def case(generator: random.Random) -> tuple[tuple[bytes, ...], frozenset[str]]:
    """Return a case as the two pieces that are sent, and how it was made."""
    request, used = valid(generator), {generator.choice([*OPERATORS, "noise"])}
    if generator.random() < 0.25 and not used & {"hpack", "noise"}:
        used.add(generator.choice([name for name in OPERATORS if name != "hpack"]))
    for name in sorted(used - {"noise"}):
        OPERATORS[name](generator, request)
    first, second = request.pieces()
    if "noise" in used:
        text = bytearray(first)
        at = generator.randrange(len(PREFACE), len(text))
        text[at] = generator.choice(
            [text[at] ^ 1 << generator.randrange(8), generator.randrange(256)]
        )
        first = bytes(text)
    return (first, second), frozenset(used)
