"""What stands around the message of a unary gRPC call: request headers, and how an answer ended.

The gRPC protocol over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from serving.http2 import frames as f
from serving.http2.hpack import Fields

# In the order of their numbers.
STATUSES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

# What the answers of proxies mean, which know no gRPC.
_OF_HTTP: Final = {
    b"400": "INTERNAL",
    b"401": "UNAUTHENTICATED",
    b"403": "PERMISSION_DENIED",
    b"404": "UNIMPLEMENTED",
    b"429": "UNAVAILABLE",
    b"502": "UNAVAILABLE",
    b"503": "UNAVAILABLE",
    b"504": "UNAVAILABLE",
}
_OF_RESET: Final = {
    f.REFUSED_STREAM: "UNAVAILABLE",
    f.CANCEL: "CANCELLED",
    f.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
}
_INFORMATION: Final = re.compile(rb"1[0-9][0-9]")
_UNITS: Final = ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0), (b"M", 1 / 60), (b"H", 1 / 3600))
_MOST_DIGITS: Final = 99_999_999

_POST: Final = b"\x83"  # of the static table, RFC 7541 appendix A
_SCHEMES: Final = {False: b"\x86", True: b"\x87"}


class Refused(Exception):
    """A call ended without an answer.

    Attributes:
        code: name of a gRPC status.
        details: what is told of it.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class AnswerHead(msgspec.Struct, frozen=True):
    """What one block of an answer says.

    Attributes:
        information: an HTTP status that announces the real one.
        status: of gRPC; -1 where it says none.
        refused: the code for an HTTP status other than 200; empty for that.
        details: the server's message, or the HTTP status.
        encoding: how messages may be compressed.
    """

    information: bool = False
    status: int = -1
    refused: str = ""
    details: str = ""
    encoding: str = ""


def request_block(
    path: str, authority: str, timeout_s: float, metadata: Mapping[str, str], *, tls: bool
) -> bytes:
    """Return the header block of a call; it leaves the peer's table as it is, so it can be kept."""
    fields = [
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"vigil"),
        # Whoever asks is near, or has asked for nothing to be compressed.
        (b"grpc-accept-encoding", b"identity"),
        (b"grpc-timeout", timeout_value(timeout_s)),
    ]
    block = _POST + _SCHEMES[tls] + b"".join(f.literal(name, value) for name, value in fields)
    for name, value in metadata.items():
        # A secret, perhaps: never to be indexed by anybody (RFC 7541, section 6.2.3).
        block += b"\x10" + f.literal(name.encode(), value.encode())[1:]
    return block


def timeout_value(seconds: float) -> bytes:
    """Return the value of `grpc-timeout`: rounded up, in the finest unit that has room for it."""
    for unit, each in _UNITS:
        count = max(1, math.ceil(seconds * each))
        if count <= _MOST_DIGITS:
            return b"%d%s" % (count, unit)
    return b"%dH" % _MOST_DIGITS


def answer_head(fields: Fields) -> AnswerHead:
    """Return what headers or trailers say."""
    given = dict(fields)
    http = given.get(b":status", b"200")
    if _INFORMATION.fullmatch(http):
        return AnswerHead(information=True)
    text = given.get(b"grpc-status")
    encoding = given.get(b"grpc-encoding", b"").decode("latin-1")
    if text is not None:
        status = int(text) if text.isdigit() and len(text) < 9 else 2
        details = unquote(given.get(b"grpc-message", b"").decode("latin-1"), errors="replace")
        return AnswerHead(status=status, details=details, encoding=encoding)
    if http != b"200":
        code = _OF_HTTP.get(http, "UNKNOWN")
        return AnswerHead(refused=code, details=f"it answered with HTTP status {_shown(http)}")
    return AnswerHead(encoding=encoding)


def _shown(http: bytes) -> str:
    return http.decode("latin-1")[:16]


def refused_by(status: int, details: str) -> Refused:
    """Return the end of a call whose status is not OK."""
    return Refused(STATUSES[status] if 0 <= status < len(STATUSES) else "UNKNOWN", details)


def refused_by_reset(code: int) -> Refused:
    """Return the end of a call whose stream was reset."""
    return Refused(_OF_RESET.get(code, "INTERNAL"), f"it reset the stream with error code {code}")
