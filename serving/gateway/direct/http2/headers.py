"""Heads of HTTP/2 requests, read strictly (RFC 9113, section 8).

What a head means does not depend on anything but its fields and the configuration, so that
`shapes.py` may keep it.
"""

from __future__ import annotations

import re
from typing import Final

from serving.access.principals import CREDENTIAL
from serving.access.web import WebAccess
from serving.config.hosts import host_name
from serving.gateway.direct.fields import BLANKS, LEGAL, MAX_HEADERS, TARGET, TOKEN
from serving.gateway.direct.known_heads import BadHead, Head2, Steady
from serving.gateway.direct.targets import normalised
from serving.gateway.grpc.deadline import NO_TIMEOUT, timeout_seconds
from serving.gateway.grpc.paths import SERVICE
from serving.gateway.http.headers import by_name
from serving.http2.hpack import Fields
from serving.telemetry.trace_context import TRACEPARENT

MODEL_INFER: Final = (SERVICE + "ModelInfer").encode()
_NAME: Final = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")
_METHOD: Final = re.compile(TOKEN + rb"{1,64}")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")
_PATH: Final = re.compile(rb"/%b*" % TARGET)
_FORBIDDEN: Final = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
)
_PSEUDO: Final = frozenset([b":method", b":path", b":scheme", b":authority"])
_NEEDED: Final = _PSEUDO - {b":authority"}


class MalformedHead(Exception):
    """Headers that the protocol forbids: the stream is reset, the connection goes on."""


def understood(fields: Fields, access: WebAccess) -> Head2:
    """Return what the fields of a request say.

    Raises:
        MalformedHead: the protocol forbids them.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Fields = []
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO or not is_value(value):
                raise MalformedHead
            pseudo[name] = value
        else:
            headers.append((name, value))
    check_fields(headers)
    if len(headers) > MAX_HEADERS or not pseudo.keys() >= _NEEDED:
        raise MalformedHead
    _check_start(pseudo)
    host = _host(pseudo.get(b":authority"), headers)
    if host is not None:
        headers = [field for field in headers if field[0] != b"host"] + [(b"host", host)]
    return _head(pseudo, headers, access)


def check_fields(fields: Fields) -> None:
    """Refuse what the protocol forbids in regular fields and in trailers (sections 8.2 and 8.1).

    Raises:
        MalformedHead: a pseudo header, a name that is no lower-case token, a value with a
            character or blanks that it must not have, or a field about one connection.
    """
    for name, value in fields:
        if name[:1] == b":" or not _NAME.fullmatch(name) or not is_value(value):
            raise MalformedHead
        if name in _FORBIDDEN or (name == b"te" and value.lower() != b"trailers"):
            raise MalformedHead


def is_value(value: bytes) -> bool:
    """Whether a field may have this value: legal bytes, no blank first or last (8.2.1)."""
    return not value.translate(None, LEGAL) and value == value.strip(BLANKS)


def length(value: bytes) -> int:
    """Return a content-length.

    Raises:
        MalformedHead: it is not one number.
    """
    if not value.isdigit() or len(value) > 19:
        raise MalformedHead
    return int(value)


def _check_start(pseudo: dict[bytes, bytes]) -> None:
    """Refuse pseudo headers that no request can have (section 8.3.1)."""
    method, path = pseudo[b":method"], pseudo[b":path"]
    if not _METHOD.fullmatch(method) or method == b"CONNECT":
        raise MalformedHead
    if not _SCHEME.fullmatch(pseudo[b":scheme"]):
        raise MalformedHead
    if not _PATH.fullmatch(path) and (method, path) != (b"OPTIONS", b"*"):
        raise MalformedHead


def _host(authority: bytes | None, headers: Fields) -> bytes | None:
    """Return the host of a request: one, well-formed, without a user (section 8.3.1)."""
    hosts = [value for name, value in headers if name == b"host"]
    if authority is not None:
        hosts.append(authority)
    if len({host.lower() for host in hosts}) > 1 or len(hosts) > 2:
        raise MalformedHead
    if hosts and host_name(hosts[-1].decode("latin-1")) is None:
        raise MalformedHead
    return hosts[-1] if hosts else None


def _head(pseudo: dict[bytes, bytes], headers: Fields, access: WebAccess) -> Head2:
    given = by_name(headers)
    grpc = given.get(b"content-type", b"").startswith(b"application/grpc")
    method, problem = pseudo[b":method"].decode("ascii"), None
    try:
        path, query = normalised(pseudo[b":path"])
    except BadHead as error:
        path, query, problem = "/", b"", error
    refused = access.refusal("POST" if grpc else method, given)
    if refused is not None:
        problem = BadHead(403, refused)
    late = given.get(b"grpc-timeout")
    timeout_s = None if late is None else timeout_seconds(late)
    size = given.get(b"content-length")
    plain = given.get(b"grpc-encoding", b"identity") == b"identity"
    infer = grpc and plain and method == "POST" and pseudo[b":path"] == MODEL_INFER
    return Head2(
        Steady(method, path, query, "2", list(headers)),
        [],
        -1 if size is None else length(size),
        grpc,
        infer and timeout_s != NO_TIMEOUT,
        timeout_s,
        problem,
        given.get(b"x-forwarded-for", b"").decode("latin-1"),
        given.get(TRACEPARENT, b""),
        given.get(CREDENTIAL, b""),
    )
