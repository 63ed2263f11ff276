"""Who asks: the address that clients take turns by."""

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
