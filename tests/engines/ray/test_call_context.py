"""What Serve's gRPC proxy tells of a call."""

from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.engines.ray.call_context import context_of, from_loopback, metadata_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Call:
    """As `RayServegRPCContext`."""

    def __init__(self, peer: str, *metadata: tuple[str, str | bytes]) -> None:
        self._peer = peer
        self._metadata = list(metadata)

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata


class Named(Access):
    """Knows who asks by a header."""

    def principal_of(self, headers: Any) -> Principal:
        return Principal(headers[b"authorization"].decode())


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("unix:/run/vigil.sock", ""),
        ("nonsense", ""),
    ],
)
@pytest.mark.parametrize(("given", "trace"), [(TRACE, TRACE), ("00-0-0-01", "")])
def test_context_of_a_call(peer: str, client: str, given: str, trace: str) -> None:
    call = Call(peer, ("authorization", "somebody"), ("traceparent", given), ("x-bin", b"\xff"))
    metadata = metadata_of(call)
    assert metadata[b"x-bin"] == b"\xff"
    context = context_of(Named(), call, metadata)
    assert (context.client, context.trace) == (client, trace)
    assert context.principal == Principal("somebody")
    assert context.deadline is None


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:4711", True),
        ("ipv4:127.8.8.8:1", True),
        ("ipv6:[::1]:4711", True),
        ("ipv6:%5B::1%5D:4711", True),
        ("ipv6:[::ffff:127.0.0.1]:9", True),
        ("unix:/run/vigil.sock", True),
        ("ipv4:192.0.2.7:4711", False),
        ("ipv6:[2001:db8::1]:4711", False),
        ("ipv6:[::ffff:192.0.2.7]:9", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_peers_of_this_machine(peer: str, local: bool) -> None:
    assert from_loopback(peer) is local
