"""Requests of which no two are alike, as clients behind a mesh or with an SDK send them.

Each has its own `x-request-id`, `traceparent` and body `id`, and other numbers of other lengths;
one trace of a hundred is recorded, as meshes do it. They are made beforehand and sent in turn: more
of them than any server keeps, so that none can know a request again.
"""

from __future__ import annotations

import json
import random
import struct
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Final

import hpack
import numpy as np

from loadtest import mlp

HTTP_POOL: Final = 32_768
"""How many HTTP requests are made before the first is sent again."""
CALLS_PER_CONNECTION: Final = 4096
"""How many gRPC calls a connection makes before its first is made again."""
RECORDED: Final = 0.01
"""Share of the requests whose client records a trace."""
PORT: Final = b"@PORT"
"""Stands for the port in `Host`; ports of the race have five digits."""
_VOLATILE: Final = ("x-request-id", "traceparent")
_LARGEST_FRAME: Final = 16_384

Call = tuple[bytes, ...]
"""A gRPC call as bytes between which the stream's four bytes belong: `stream.join(call)`."""


def identity(generator: random.Random) -> dict[str, str]:
    """Return the headers that a mesh adds to each request."""
    trace, recorded = generator.getrandbits(128), generator.random() < RECORDED
    return {
        "x-request-id": ident(generator),
        "traceparent": f"00-{trace:032x}-{generator.getrandbits(64):016x}-0{recorded:d}",
    }


def ident(generator: random.Random) -> str:
    """Return a random UUID."""
    return str(uuid.UUID(int=generator.getrandbits(128), version=4))


def json_body(x: np.ndarray, generator: random.Random, least_digits: int = 1) -> mlp.Body:
    """Return an OIP JSON request with an id, its numbers rounded to `least_digits` to 17 digits."""
    values = x.ravel().tolist()
    numbers = ",".join(f"{value:.{generator.randint(least_digits, 17)}g}" for value in values)
    shape = ",".join(map(str, x.shape))
    text = (
        f'{{"id":"{ident(generator)}","inputs":[{{"name":"{mlp.INPUT}","shape":[{shape}],'
        f'"datatype":"FP32","data":[{numbers}]}}]}}'
    )
    return mlp.Body(text.encode(), {"Content-Type": "application/json"})


def binary_body(x: np.ndarray, generator: random.Random) -> mlp.Body:
    """Return an OIP request with an id in the binary tensor extension, both ways."""
    plain = mlp.binary_body(x)
    size = int(plain.headers["Inference-Header-Content-Length"])
    head = json.loads(plain.data[:size])
    text = json.dumps({"id": ident(generator), **head}, separators=(",", ":")).encode()
    headers = plain.headers | {"Inference-Header-Content-Length": str(len(text))}
    return mlp.Body(text + plain.data[size:], headers)


@cache
def http_pool(protocol: str, rows: int = 1, count: int = HTTP_POOL) -> tuple[bytes, ...]:
    """Return `count` whole HTTP/1.1 requests of `rows` rows each, with `PORT` in `Host`."""
    generator = random.Random(f"{protocol} {rows}")
    made = []
    for x in _rows(count, rows, protocol):
        body = (json_body if protocol == "json" else binary_body)(x, generator)
        made.append(http_request(body, identity(generator)))
    return tuple(made)


def http_request(body: mlp.Body, more: dict[str, str]) -> bytes:
    """Return `body` as an HTTP/1.1 request with the headers `more`, and `PORT` in `Host`."""
    lines = [f"POST {mlp.INFER_PATH} HTTP/1.1", f"Host: 127.0.0.1:{PORT.decode()}"]
    headers = body.headers | more | {"Content-Length": str(len(body.data))}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body.data


@cache
def grpc_rings(
    connections: int, rows: int = 1, count: int = CALLS_PER_CONNECTION
) -> tuple[tuple[list[Call], list[Call]], ...]:
    """Return for each connection the calls it makes first, and those it then repeats for ever."""
    made = []
    for number in range(connections):
        generator = random.Random(f"grpc {number} {rows}")
        first, ring = _blocks(generator, count)
        plain = mlp.grpc_message(_rows(1, rows, f"grpc {number}")[0])
        parsed = _template(plain)
        raw = _rows(len(first) + len(ring), rows, f"grpc {number}").astype("<f4")
        calls = [
            grpc_call(block, mlp.grpc_frame(_message(parsed, ident(generator), x.tobytes())))
            for block, x in zip([*first, *ring], raw, strict=True)
        ]
        made.append((calls[: len(first)], calls[len(first) :]))
    return tuple(made)


@cache
def grpc_pool(rows: int, count: int) -> tuple[Call, ...]:
    """Return `count` calls that any connection may make in any order.

    Their header blocks refer to no entry of a table, for which each is larger than one of a ring.
    """
    generator = random.Random(f"pool {rows}")
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    encoder.encode([])  # takes the update of the size with it
    return tuple(
        grpc_call(
            encoder.encode(grpc_headers(identity(generator))),
            mlp.grpc_frame(unique_message(x, generator)),
        )
        for x in _rows(count, rows, "pool")
    )


def grpc_headers(more: dict[str, str]) -> list[tuple[str, str]]:
    """Return the headers of a call as gRPC's own clients send them, and `more`."""
    return [
        (":method", "POST"), (":scheme", "http"), (":path", mlp.GRPC_PATH),
        (":authority", "127.0.0.1"), ("te", "trailers"), ("content-type", "application/grpc"),
        ("user-agent", "grpc-python/1.85.1 grpc-c/54.0.0 (linux; chttp2)"), *more.items(),
    ]  # fmt: skip


def grpc_call(block: bytes, body: bytes) -> Call:
    """Return the frames of a call: one HEADERS, and as many DATA as `body` needs."""
    parts = [_frame_head(len(block), 1, 0x4)]
    before = block
    for start in range(0, len(body), _LARGEST_FRAME):
        piece = body[start : start + _LARGEST_FRAME]
        ends = start + _LARGEST_FRAME >= len(body)
        parts.append(before + _frame_head(len(piece), 0, int(ends)))
        before = piece
    return (*parts, before)


def unique_message(x: np.ndarray, generator: random.Random) -> bytes:
    """Return a serialized `ModelInferRequest` with an id of its own and raw input contents."""
    template = _template(mlp.grpc_message(x))
    return _message(template, ident(generator), x.astype("<f4").tobytes())


def _rows(count: int, rows: int, seed: str) -> np.ndarray:
    generator = np.random.default_rng(list(seed.encode()))
    return generator.normal(size=(count, rows, mlp.WIDTHS[0]))


def _blocks(generator: random.Random, count: int) -> tuple[list[bytes], list[bytes]]:
    """Return header blocks that one encoder writes: some first ones, then a ring of `count`.

    An encoder that indexes what it sends, as those of meshes do, pushes its constant headers out
    of the table with its volatile ones, and writes them anew every so often. The ring ends where
    its table looks as at the ring's beginning, so after its last block its first one is right
    again: volatile values are never referred to, and have one length.
    """
    encoder = hpack.Encoder()

    def block() -> bytes:
        return encoder.encode(grpc_headers(identity(generator)))

    first = [block() for _ in range(256)]
    begins = _shape(encoder)
    ring: list[bytes] = []
    while len(ring) < count or _shape(encoder) != begins:
        ring.append(block())
        if len(ring) > 2 * count + 4096:
            raise AssertionError("the encoder's table does not come back to where it was")
    return first, ring


def _shape(encoder: hpack.Encoder) -> Sequence[tuple[bytes, bytes]]:
    entries = encoder.header_table.dynamic_entries
    return [
        (bytes(name), b"" if name.decode() in _VOLATILE else bytes(value))
        for name, value in entries
    ]


def _template(message: bytes) -> tuple[bytes, bytes]:
    """Return what comes before the id in `message`, and what between it and the raw contents."""
    from tritonclient.grpc import service_pb2  # loads the protobuf runtime: only when needed

    request = service_pb2.ModelInferRequest.FromString(message)
    del request.raw_input_contents[:]
    before = service_pb2.ModelInferRequest(model_name=request.model_name).SerializeToString()
    return before, request.SerializeToString().removeprefix(before)


def _message(template: tuple[bytes, bytes], name: str, raw: bytes) -> bytes:
    # In the order of their numbers, as every client writes them: `id` is field 3, the contents 7.
    before, between = template
    return b"".join((before, b"\x1a\x24", name.encode(), between, b"\x3a", _varint(len(raw)), raw))


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes((number & 127 | 128,))
        number >>= 7
    return found + bytes((number,))


def _frame_head(size: int, kind: int, flags: int) -> bytes:
    return struct.pack(">HBBB", size >> 8, size & 255, kind, flags)
