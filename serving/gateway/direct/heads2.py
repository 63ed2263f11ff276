"""Header blocks of HTTP/2 requests: what they say, and what the protocol forbids in them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from serving.gateway.direct.heads import MAX_HEAD, MAX_HEADERS, BadHead, normalised
from serving.gateway.grpc_paths import SERVICE
from serving.gateway.headers import by_name
from serving.http2.blocks import BlockReader
from serving.http2.hpack import Fields

MODEL_INFER: Final = (SERVICE + "ModelInfer").encode()
_NAME: Final = re.compile(rb":?[!#$%&'*+.^`|~0-9a-z_-]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]")
_FORBIDDEN: Final = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
)
_PSEUDO: Final = frozenset([b":method", b":path", b":scheme", b":authority"])
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Head2(msgspec.Struct, frozen=True):
    """What a block of headers says.

    Attributes:
        method, path, query, headers: as for `heads.Head`; the authority is header `host`.
        length: what content-length says; -1 without one.
        grpc: whether it is a gRPC call.
        infer: a plain ModelInfer call, for the quick path.
        timeout_s: the call's deadline in seconds from now; None without one.
        forwarded: `x-forwarded-for`, as sent.
        problem: set when the path cannot be read; the answer is this refusal.
    """

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    length: int
    grpc: bool
    infer: bool
    timeout_s: float | None
    problem: BadHead | None
    forwarded: str = ""


class MalformedHead(Exception):
    """Headers that the protocol forbids: the stream is reset, the connection goes on."""


class HeadReader2:
    """Decodes the blocks of one connection."""

    def __init__(self) -> None:
        self._blocks = BlockReader(_head, MAX_HEAD)

    def read(self, block: bytes) -> Head2:
        """Return what a whole header block says.

        Raises:
            MalformedHead: it is well encoded and not allowed.
            ProtocolError: it cannot be decoded, so that no later one can be either.
        """
        return self._blocks.read(block)

    def skip(self, block: bytes) -> None:
        """Decode trailers, which change the table and say nothing that is needed.

        Raises:
            MalformedHead, ProtocolError: as for `read`.
        """
        if any(name[:1] == b":" for name, _ in self._blocks.fields(block)):
            raise MalformedHead


def _head(fields: Fields) -> Head2:
    pseudo: dict[bytes, bytes] = {}
    headers: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
            raise MalformedHead
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise MalformedHead
            pseudo[name] = value
        else:
            headers.append((name, value))
    if len(headers) > MAX_HEADERS or not pseudo.keys() >= {b":method", b":path", b":scheme"}:
        raise MalformedHead
    given = by_name(headers)
    if sum(name == b"content-length" for name, _ in headers) > 1:
        raise MalformedHead
    if _FORBIDDEN & given.keys() or given.get(b"te", b"trailers").lower() != b"trailers":
        raise MalformedHead
    if b":authority" in pseudo:
        headers.append((b"host", pseudo[b":authority"]))
    return _understood(pseudo, headers, given)


def _understood(
    pseudo: dict[bytes, bytes], headers: list[tuple[bytes, bytes]], given: dict[bytes, bytes]
) -> Head2:
    grpc = given.get(b"content-type", b"").startswith(b"application/grpc")
    problem = None
    try:
        path, query = normalised(pseudo[b":path"])
    except BadHead as error:
        path, query, problem = "/", b"", error
    method = pseudo[b":method"].decode("latin-1")
    timeout = given.get(b"grpc-timeout")
    timeout_s = None if timeout is None else _timeout(timeout)
    plain = given.get(b"grpc-encoding", b"identity") == b"identity"
    return Head2(
        method,
        path,
        query,
        headers,
        _length(given.get(b"content-length")),
        grpc,
        grpc
        and plain
        and method == "POST"
        and pseudo[b":path"] == MODEL_INFER
        and timeout_s != -1.0,
        timeout_s,
        problem,
        given.get(b"x-forwarded-for", b"").decode("latin-1"),
    )


def _timeout(value: bytes) -> float:
    """Return the seconds of a `grpc-timeout`; -1 when it is not one."""
    unit = _UNITS.get(value[-1:])
    if unit is None or not value[:-1].isdigit() or len(value) > 9:
        return -1.0
    return int(value[:-1]) * unit


def _length(value: bytes | None) -> int:
    if value is None:
        return -1
    if not value.isdigit() or len(value) > 19:
        raise MalformedHead
    return int(value)
