"""Who is at the other end of a connection."""

from __future__ import annotations

from serving.access.decision import Access
from serving.access.principals import CREDENTIAL, NO_CREDENTIAL, Credential
from serving.dataplane.context import GRPC, HTTP, RequestContext
from serving.gateway.context import deadline_in


class Peer:
    """The other end of a connection, and whoever asks through it.

    Args:
        address: its address and port; None on a Unix socket.
        proxies: how many trusted proxies stand in front (`listen.trusted_proxies`).
        access: says who asks.

    Attributes:
        host: its address; empty on a Unix socket.
        port: its port; 0 on a Unix socket.
    """

    __slots__ = ("_access", "_context", "_grpc_context", "_proxies", "host", "port")

    def __init__(self, address: tuple[str, int] | None, proxies: int, access: Access) -> None:
        self.host = address[0] if address else ""
        self.port = address[1] if address else 0
        self._proxies = proxies
        self._access = access
        nobody = access.principal_of({})
        self._context = RequestContext(nobody, client=self.host, transport=HTTP)
        """Of all requests that bring nothing of their own."""
        self._grpc_context = RequestContext(nobody, client=self.host, transport=GRPC)

    def asking(self, forwarded: str) -> str:
        """Return the address of whoever asks.

        It is the peer's. With proxies in front it is what the outermost of those that are trusted
        has added: each adds the address of who spoke to it to the right of `x-forwarded-for`, and
        what stands further left may have been sent by anybody.

        Args:
            forwarded: `x-forwarded-for`, as sent.
        """
        proxies = self._proxies
        if not proxies:
            return self.host
        named = [part.strip() for part in forwarded.split(",")]
        return named[-proxies] if len(named) >= proxies and named[-proxies] else self.host

    def context(
        self,
        forwarded: str,
        timeout_s: float | None,
        trace: bytes,
        credential: bytes,
        *,
        grpc: bool = False,
    ) -> RequestContext:
        """Return the context of a request; most of a connection share one.

        Args:
            forwarded: `x-forwarded-for`, as sent.
            timeout_s: seconds that the client allows from now on; None: any time.
            trace: `traceparent`, as sent; empty without one.
            credential: what says who asks, as sent; empty without one.
            grpc: whether it is a gRPC call.
        """
        if timeout_s is None and not (trace or credential or self._proxies):
            return self._grpc_context if grpc else self._context
        principal = self._context.principal
        if credential:
            principal = self._access.principal_of({CREDENTIAL: credential})
        # Of each request with a trace; so nothing is called that has nothing to do.
        return RequestContext(
            principal,
            trace,
            deadline=None if timeout_s is None else deadline_in(timeout_s),
            client=self.asking(forwarded) if self._proxies else self.host,
            transport=GRPC if grpc else HTTP,
            credential=Credential(credential) if credential else NO_CREDENTIAL,
        )
