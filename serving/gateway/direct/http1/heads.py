"""Heads of HTTP/1.1 requests (RFC 9112), read strictly.

What a head means does not depend on anything but its bytes and the configuration, so that
`shapes.py` may keep it.
"""

from __future__ import annotations

import re
from typing import Final

from serving.access.principals import CREDENTIAL
from serving.access.web import WebAccess
from serving.config.hosts import host_name
from serving.gateway.direct.fields import BLANKS, MAX_HEADERS, TARGET, TOKEN, VALUE
from serving.gateway.direct.known_heads import BadHead, Fields, Head, InferHead, Steady
from serving.gateway.direct.targets import normalised
from serving.gateway.http.compression import choose
from serving.gateway.http.headers import Headers, by_name
from serving.telemetry.trace_context import TRACEPARENT

MAX_HEAD: Final = 60 << 10
JSON_LENGTH: Final = b"inference-header-content-length"
REQUEST_ID: Final = b"x-request-id"

_HEAD: Final = re.compile(
    rb"(?:\r\n)*+(%b{1,64}+) (%b++) HTTP/(1\.[01])\r\n((?:%b++:%b*+\r\n)*+)\r\n"
    % (TOKEN, TARGET, TOKEN, VALUE)
)
_ABSOLUTE: Final = re.compile(rb"(?i)https?://([^/?#]+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")


def parse(raw: bytes, access: WebAccess) -> Head:
    """Read one head; it ends with its empty line.

    Raises:
        BadHead: it is malformed, asks for something that is not offered, or is not let in.
    """
    if len(raw) > MAX_HEAD:
        raise too_large_head()
    found = _HEAD.fullmatch(raw)
    if found is None:
        raise _malformed()
    method, version = found[1].decode("ascii"), found[3].decode("ascii")
    fields = _fields(found[4])
    if len(fields) > MAX_HEADERS:
        raise too_large_head()
    if method == "CONNECT":
        raise BadHead(400, "this is no proxy: send HTTP/1.1 requests for paths under /v2")
    authority, target = _split(method, found[2])
    fields = _with_host(version, authority, fields)
    path, query = normalised(target)
    headers = by_name(fields)
    if headers.get(b"content-type", b"").startswith(b"application/grpc"):
        raise BadHead(400, "gRPC needs HTTP/2; use a gRPC client")
    length = _length(version, fields)
    refused = access.refusal(method, headers)
    if refused is not None:
        raise BadHead(403, refused)
    return Head(
        Steady(method, path, query, version, list(fields)),
        [],
        length,
        _keeps_alive(version, headers.get(b"connection", b"")),
        version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue",
        headers.get(b"x-forwarded-for", b"").decode("latin-1"),
        _infer_head(method, path, headers),
    )


def _fields(lines: bytes) -> Fields:
    pairs = [line.split(b":", 1) for line in lines.split(b"\r\n")[:-1]]
    return [(name.lower(), value.strip(BLANKS)) for name, value in pairs]


def _split(method: str, target: bytes) -> tuple[bytes | None, bytes]:
    """Return the authority of a target, if it has one, and the rest (RFC 9112, section 3.2).

    Raises:
        BadHead: it is neither a path nor a whole address.
    """
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        return absolute[1], target[absolute.end() :]
    if target[:1] != b"/" and (method, target) != ("OPTIONS", b"*"):
        raise BadHead(400, "the request's target is malformed; begin the path with a slash")
    return None, target


def _with_host(version: str, authority: bytes | None, fields: Fields) -> Fields:
    """Return the fields with the one host that counts: a target's own goes before the header's.

    Raises:
        BadHead: there is none where there must be one, or it is malformed.
    """
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise BadHead(400, "send exactly one Host header; HTTP/1.1 asks for it")
    if authority is not None:
        hosts.append(authority)
        fields = [field for field in fields if field[0] != b"host"] + [(b"host", authority)]
    if any(host_name(host.decode("latin-1")) is None for host in hosts):
        raise BadHead(400, "the Host header is malformed; send a name or an address, and a port")
    return fields


def _infer_head(method: str, path: str, headers: Headers) -> InferHead | None:
    named = infer_path(method, path)
    # Unpacking may take long, and so may an answer that must not be sent as it is.
    encoding, plain_allowed = choose(headers.get(b"accept-encoding", b""))
    if named is None or b"content-encoding" in headers or not plain_allowed:
        return None

    def text(name: bytes) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode("latin-1")

    return InferHead(
        *named,
        text(JSON_LENGTH),
        text(REQUEST_ID),
        encoding is not None,
        headers.get(TRACEPARENT, b""),
        headers.get(CREDENTIAL, b""),
    )


def infer_path(method: str, path: str) -> tuple[str, str] | None:
    """Return model and version of a request for inference."""
    parts = path.strip("/").split("/")
    if method != "POST" or parts[:2] != ["v2", "models"] or parts[-1] != "infer":
        return None
    if len(parts) == 4:
        return parts[2], ""
    if len(parts) == 6 and parts[3] == "versions":
        return parts[2], parts[4]
    return None


def _length(version: str, headers: list[tuple[bytes, bytes]]) -> int | None:
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        # Whoever is between us and an HTTP/1.0 client need not have understood it.
        if lengths or codings != [b"chunked"] or version == "1.0":
            raise _malformed()
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _malformed()
    return int(lengths[0])


def _keeps_alive(version: str, connection: bytes) -> bool:
    wishes = {wish.strip() for wish in connection.lower().split(b",")}
    return b"close" not in wishes and (version == "1.1" or b"keep-alive" in wishes)


def _malformed() -> BadHead:
    return BadHead(
        400, "the request is malformed; send well-formed HTTP with one length and printable headers"
    )


def too_large_head() -> BadHead:
    """Return the refusal of a head with too many or too long headers."""
    return BadHead(431, "the headers are too large; send fewer or shorter ones")
