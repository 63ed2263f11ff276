"""Which web pages of other origins may read answers (CORS): those that the operator names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from serving.gateway.http.headers import Headers
from serving.gateway.http.routes import gives_orders, target_of

KEPT_S: Final = 600
"""Seconds for which browsers need not ask again before they send a request."""

_ANY: Final = b"*"
_VARY: Final = (b"vary", b"origin")
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"inference-header-content-length, x-request-id, retry-after, content-encoding",
)


class Cors:
    """Tells browsers which answers a page may read, and which requests it may send.

    Orders to the server are never among them: their routes refuse pages.

    Args:
        origins: as browsers send them, such as `https://app.example.com`; `*` for every page.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any = _ANY in self._origins

    def headers(self, method: str, path: str, asked: Headers) -> list[tuple[bytes, bytes]]:
        """Return what is added to the answer to a request, whether it succeeds or fails."""
        origin = asked.get(b"origin")
        if origin is None and method == "POST":  # no page, and nothing that a cache would keep
            return []
        methods = target_of(method, path).methods
        if not methods or gives_orders(methods):
            return []
        added = [] if self._any else [_VARY]
        if origin is None or not (self._any or origin in self._origins):
            return added
        added.append((b"access-control-allow-origin", _ANY if self._any else origin))
        if method != "OPTIONS" or b"access-control-request-method" not in asked:
            return [*added, _EXPOSED]
        added.append((b"access-control-allow-methods", ", ".join(methods).encode()))
        wanted = asked.get(b"access-control-request-headers")
        if wanted:
            # Any of them: headers give no rights here.
            added.append((b"access-control-allow-headers", wanted))
        added.append((b"access-control-max-age", b"%d" % KEPT_S))
        return added


def merged(
    headers: list[tuple[bytes, bytes]], added: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return both, with what answers vary by in one header."""
    varies = [value for name, value in (*headers, *added) if name == b"vary"]
    rest = [pair for pair in (*headers, *added) if pair[0] != b"vary"]
    return [*rest, (b"vary", b", ".join(varies))] if varies else rest
