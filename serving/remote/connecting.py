"""Connecting to another server: its name may mean several addresses, and nothing may take long."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol, TypeVar, cast

import httpx

from serving.channel.connection import KEEPALIVE
from serving.errors import Unreachable
from serving.remote.access import Access
from serving.remote.address import Address
from serving.remote.failures import unreachable, untrusted

CONNECT_S: Final = 5.0
"""Longest wait for one address: until it has shown that it speaks what we do."""

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 1.0
_LONGER: Final = 1.6


class Connected(Protocol):
    """An asyncio protocol of a connection, and when the peer has understood it."""

    ready: asyncio.Future[None]


S = TypeVar("S", bound=Connected)


def tls_context(address: Address, access: Access, protocol: str) -> ssl.SSLContext | None:
    """Return how `address` is verified, and that `protocol` (of ALPN) is wanted; None: no TLS.

    Raises:
        ConfigError: a file holds no certificate, or no key that fits it.
    """
    if not address.tls:
        return None
    context = access.ssl_context()
    if not isinstance(context, ssl.SSLContext):
        context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols([protocol])
    return context


async def connect(address: Address, context: ssl.SSLContext | None, make: Callable[[], S]) -> S:
    """Try the addresses of a server one after the other; returns the protocol of the connection.

    Raises:
        Unreachable: nobody answers there, or cannot be trusted.
    """
    loop = asyncio.get_running_loop()
    failed = unreachable(address.url)
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except (OSError, TimeoutError):
        raise failed from None
    for where in dict.fromkeys((family, str(to[0])) for family, _, _, _, to in found):
        try:
            async with asyncio.timeout(CONNECT_S):
                return await _one(address, where, context, make)
        except ssl.SSLError:
            failed = untrusted(address.url)
        except (OSError, TimeoutError):
            pass
    raise failed


async def _one(
    address: Address,
    where: tuple[int, str],
    context: ssl.SSLContext | None,
    make: Callable[[], S],
) -> S:
    family, host = where
    transport, made = await asyncio.get_running_loop().create_connection(
        cast(Callable[[], asyncio.Protocol], make),
        host,
        address.port,
        ssl=context,
        server_hostname=address.host if context else None,
        family=family,
    )
    connection = cast(S, made)
    try:
        wire = transport.get_extra_info("socket")
        for level, option, value in KEEPALIVE:
            wire.setsockopt(level, option, value)
        await connection.ready
    except BaseException:
        transport.abort()
        raise
    return connection


class Patience:
    """How long to leave a server alone after it could not be reached. Belongs to one loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause_s = _FIRST_PAUSE_S
        self._until = 0.0
        self._failed: Unreachable | None = None

    def failed(self, error: Unreachable) -> None:
        """Remember that it could not be reached."""
        self._failed = error
        self._until = self._loop.time() + self._pause_s
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * _LONGER)

    def reached(self) -> None:
        """Forget it."""
        self._failed = None
        self._pause_s = _FIRST_PAUSE_S

    def failure(self) -> Unreachable | None:
        """Return why it was not reached, as long as it is too early to try again."""
        return self._failed if self._loop.time() < self._until else None
