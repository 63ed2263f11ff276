"""Heads of HTTP/1.1 requests: parsed strictly once, then known by their bytes.

A client on a kept-alive connection sends the same head again and again, so most heads need no
parsing at all. What a head means does not depend on anything but its bytes, which makes keeping
it safe.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from serving.gateway.compression import choose
from serving.gateway.headers import by_name

MAX_HEAD: Final = 60 << 10
MAX_HEADERS: Final = 100
_KEPT_HEADS: Final = 1024
_KEPT_BYTES: Final = 1024

# A bare CR or LF, or a NUL: where two programs may see different ends of one line.
_BROKEN: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00")
_AUTHORITY: Final = re.compile(rb"(?i)https?://[^/?#]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_REQUEST_LINE: Final = re.compile(rb"(?:\r\n)*[^\r\n]+ HTTP/1\.[01]\r\n")
_ESCAPED_SLASH: Final = re.compile(rb"(?i)%2f|%5c")


class BadHead(Exception):
    """A head that is refused: the status of the answer, and what to change."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Head(msgspec.Struct, frozen=True):
    """What a request's head says.

    Attributes:
        method: as sent.
        path: decoded and normalised, without the query.
        query: as sent, without the question mark.
        version: `1.0` or `1.1`.
        headers: names in lower case, values without blanks around them.
        length: bytes of the body; None when it comes in chunks.
        keep_alive: whether the connection may carry another request.
        forwarded: `x-forwarded-for`, as sent.
        expects: whether the client waits for `100 Continue` before it sends the body.
        infer: model and version of an inference request, for the quick path; else None.
    """

    method: str
    path: str
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    length: int | None
    keep_alive: bool
    expects: bool
    forwarded: str = ""
    infer: InferHead | None = None


class InferHead(msgspec.Struct, frozen=True):
    """What the head of an inference request says beside its body.

    `packs`: whether its client likes a compressed answer better.
    """

    model: str
    version: str
    json_length: str | None
    request_id: str | None
    packs: bool


class _Collector:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser leaves blanks at a value's end, which are no part of it.
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


class HeadReader:
    """Parses heads and remembers those that came often. Belongs to one loop's thread.

    Args:
        cors: whether web pages are answered with more headers; then they take the long path.
    """

    def __init__(self, *, cors: bool = False) -> None:
        self._cors = cors
        self._known: dict[bytes, Head] = {}

    def read(self, raw: bytes) -> Head:
        """Return what the head `raw` says; it ends with its empty line.

        Raises:
            BadHead: it is malformed, or asks for something that is not offered.
        """
        head = self._known.get(raw)
        if head is None:
            if len(raw) > MAX_HEAD:
                raise too_large_head()
            head = parse(raw)
            if self._cors and any(name == b"origin" for name, _ in head.headers):
                head = msgspec.structs.replace(head, infer=None)
            if len(raw) <= _KEPT_BYTES:
                if len(self._known) >= _KEPT_HEADS:
                    self._known.clear()
                self._known[raw] = head
        return head


def parse(raw: bytes) -> Head:
    """Parse one head.

    Raises:
        BadHead: as for `HeadReader.read`.
    """
    if _BROKEN.search(raw) or not _REQUEST_LINE.match(raw):  # the parser knows RTSP as well
        raise _malformed()
    found = _Collector()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer of another protocol, which we do not take up
    except httptools.HttpParserError:
        raise _malformed() from None
    if not found.complete:
        raise _malformed()
    if len(found.headers) > MAX_HEADERS:
        raise too_large_head()
    method = parser.get_method().decode("ascii")
    version = parser.get_http_version()
    if method == "CONNECT" or version not in ("1.0", "1.1"):
        raise BadHead(400, "this is no proxy: send HTTP/1.1 requests for paths under /v2")
    path, query = normalised(found.target)
    headers = by_name(found.headers)
    hosts = sum(name == b"host" for name, _ in found.headers)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise BadHead(400, "send exactly one Host header; HTTP/1.1 asks for it")
    if headers.get(b"content-type", b"").startswith(b"application/grpc"):
        raise BadHead(400, "gRPC needs HTTP/2; use a gRPC client")
    length = _length(version, found.headers)
    return Head(
        method,
        path,
        query,
        version,
        found.headers,
        length,
        # Not the parser's own verdict, which is about the end of the message.
        _keeps_alive(version, headers.get(b"connection", b"")),
        version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue",
        headers.get(b"x-forwarded-for", b"").decode("latin-1"),
        _infer_head(method, path, headers),
    )


def _infer_head(method: str, path: str, headers: dict[bytes, bytes]) -> InferHead | None:
    parts = path.strip("/").split("/")
    if method != "POST" or parts[:2] != ["v2", "models"] or parts[-1] != "infer":
        return None
    # Unpacking may take long, and so may an answer that must not be sent as it is.
    encoding, plain_allowed = choose(headers.get(b"accept-encoding", b""))
    if b"content-encoding" in headers or not plain_allowed:
        return None
    if len(parts) == 4:
        model, version = parts[2], ""
    elif len(parts) == 6 and parts[3] == "versions":
        model, version = parts[2], parts[4]
    else:
        return None

    def text(name: bytes) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode("latin-1")

    return InferHead(
        model,
        version,
        text(b"inference-header-content-length"),
        text(b"x-request-id"),
        encoding is not None,
    )


def normalised(target: bytes) -> tuple[str, bytes]:
    """Return path and query of a request's target: decoded, without empty or dot segments.

    Raises:
        BadHead: the path cannot be decoded, or hides slashes.
    """
    target = _AUTHORITY.sub(b"", target, count=1)
    raw, _, query = target.partition(b"?")
    if _ESCAPED_SLASH.search(raw):
        raise BadHead(400, "the path has an escaped slash; send the slash itself")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadHead(400, "the path is not valid UTF-8; percent-encode it as UTF-8") from None
    if "//" in path or "/." in path:
        end = "/" if path.endswith("/") else ""
        inner = posixpath.normpath(path).strip("/")
        path = f"/{inner}{end}" if inner else "/"
    return path or "/", query


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
