"""What Serve's gRPC proxy tells of a call: who asks, from where, and within which trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from serving.access.decision import Access
from serving.access.principals import CREDENTIAL, Credential
from serving.config.hosts import is_loopback
from serving.dataplane.context import GRPC, RequestContext
from serving.gateway.http.headers import Headers, by_name
from serving.telemetry.trace_context import TRACEPARENT


def metadata_of(call: Any) -> Headers:
    """Return a call's metadata by name; values that are text become bytes as they were sent.

    Args:
        call: Serve's copy of the call's `grpc.ServicerContext`.
    """
    return by_name(
        [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in call.invocation_metadata()
        ]
    )


def context_of(access: Access, call: Any, metadata: Headers) -> RequestContext:
    """Return the context of a call.

    It has no deadline: the proxy keeps the client's, and cancels what nobody waits for.

    Args:
        access: knows who asks.
        call: as for `metadata_of`.
        metadata: of the call.
    """
    return RequestContext(
        principal=access.principal_of(metadata),
        traceparent=metadata.get(TRACEPARENT, b""),
        client=address_of(call.peer()),
        transport=GRPC,
        credential=Credential(metadata.get(CREDENTIAL, b"")),
    )


def address_of(peer: str) -> str:
    """Return the address in a gRPC peer, for example `ipv4:127.0.0.1:4711`; empty without one."""
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def from_loopback(peer: str) -> bool:
    """Whether a gRPC peer is on this machine."""
    return peer.startswith("unix:") or is_loopback(address_of(peer))
