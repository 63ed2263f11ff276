"""Which requests that browsers can be made to send are answered.

A page that somebody visits can send requests to any server which that browser reaches, and read
the answers of one that its own name leads to (DNS rebinding). Nothing authenticates clients, so
both are refused, unless the configuration names the page or the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from serving.config.hosts import host_name, is_loopback

ANY: Final = "*"
_ASKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, and whose answers browsers keep from pages of other origins."""
_MOST_KEPT: Final = 1024

FROM_A_PAGE: Final = (
    "this server takes no requests from web pages, except those of origins that the operator names "
    "in listen.cors_origins"
)

NO_ORDERS: Final = "this server takes no orders from web pages; use a client"


class WebAccess:
    """Judges requests by what browsers say of them.

    Args:
        origins: of the pages that may send requests; `*` for all.
        hosts: names for this server beside those of loopback; None where any will do, because
            it can be reached from elsewhere.
    """

    def __init__(self, origins: Iterable[str] = (), hosts: Iterable[str] | None = None) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any_page = ANY.encode() in self._origins
        self._hosts = None if hosts is None else frozenset(hosts)
        self._any_host = hosts is None or ANY in hosts
        self._known = {b""}
        """`Host` headers that were found good."""

    def refusal(self, method: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Return why a request is refused; None if it is not.

        Args:
            method: of HTTP; a gRPC call's is POST.
            headers: by name; `host` holds HTTP/2's authority.
        """
        if not self._any_host:
            host = headers.get(b"host")
            if host is not None and host not in self._known:
                refused = self._judged(host)
                if refused is not None:
                    return refused
        if method in _ASKING or self._any_page:
            return None
        origin = headers.get(b"origin")
        if origin is None:
            # What browsers say of requests without an origin; programs say nothing.
            foreign = headers.get(b"sec-fetch-site", b"none") != b"none"
            return FROM_A_PAGE if foreign else None
        return None if origin in self._origins else FROM_A_PAGE

    def _judged(self, host: bytes) -> str | None:
        name = host_name(host.decode("latin-1"))
        assert self._hosts is not None
        if name is None or not (is_loopback(name) or name in self._hosts):
            shown = ascii(host[:100].decode("latin-1"))
            return (
                "this server is reached under loopback names only, such as localhost, and not "
                f"under {shown}; if that is meant, name it in listen.allowed_hosts"
            )
        if len(self._known) < _MOST_KEPT:
            self._known.add(host)
        return None


def refuses_order(method: str, headers: Mapping[bytes, bytes]) -> str | None:
    """Return why an order to the server is refused; None if it does not come from a page.

    Browsers tell where such a request comes from. Without this any page that the operator visits
    could unload models on this machine; to name its origin does not allow that either.
    """
    if method in _ASKING:
        return None
    foreign = b"origin" in headers or headers.get(b"sec-fetch-site", b"none") != b"none"
    return NO_ORDERS if foreign else None
