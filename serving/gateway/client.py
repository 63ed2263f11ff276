"""The address of whoever asks, as far as it can be trusted."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any


def client_of(scope: MutableMapping[str, Any]) -> str:
    """Return the address of the peer as the server in front saw it; empty when it does not say.

    Envoy is configured to take it from the connection, or from what so many trusted proxies have
    added (`listen.trusted_proxies`), and never from what a client may have sent.
    """
    client = scope.get("client")
    return client[0] if client else ""


def behind(peer: str, forwarded: str, proxies: int) -> str:
    """Return the client's address when `proxies` trusted proxies stand in front.

    Each of them has added the address of who spoke to it to the right of `x-forwarded-for`; what
    stands further left may have been sent by anybody.
    """
    if not proxies:
        return peer
    named = [part.strip() for part in forwarded.split(",")]
    return named[-proxies] if len(named) >= proxies and named[-proxies] else peer
