"""Targets of requests in both protocols: the path, decoded and normalised, and the query."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from serving.gateway.direct.known_heads import BadHead

_ESCAPED_SLASH: Final = re.compile(rb"(?i)%2f|%5c")


def normalised(target: bytes) -> tuple[str, bytes]:
    """Return path and query of a request's target: decoded, without empty or dot segments.

    Raises:
        BadHead: the path cannot be decoded, or hides slashes.
    """
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
