"""Who is at the other end of a connection."""

from __future__ import annotations

from serving.gateway.client import behind


class Peer:
    """The other end of a connection, and whoever asks through it.

    Args:
        address: its address and port; None on a Unix socket.
        proxies: how many trusted proxies stand in front (`listen.trusted_proxies`).

    Attributes:
        host: its address; empty on a Unix socket.
        port: its port; 0 on a Unix socket.
    """

    __slots__ = ("_proxies", "host", "port")

    def __init__(self, address: tuple[str, int] | None, proxies: int) -> None:
        self.host = address[0] if address else ""
        self.port = address[1] if address else 0
        self._proxies = proxies

    def asking(self, forwarded: str) -> str:
        """Return the address of whoever asks: the peer's, or what trusted proxies have added."""
        return behind(self.host, forwarded, self._proxies) if self._proxies else self.host
