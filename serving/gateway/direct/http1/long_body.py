"""A long body of HTTP/1.1, read by the kernel right into the place where its tensors will lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import numpy as np

from serving.gateway.direct.connection import Connection

LONG: Final = 128 << 10
"""Bytes from which on it pays: below, a body comes in one or two pieces anyway."""

_NOTHING: Final = memoryview(b"")


class LongBody(asyncio.BufferedProtocol):
    """Has the transport until the body is whole, and gives it back then.

    Args:
        connection: whose body it is.
        transport: the connection's.
        length: bytes of the body.
        first: those that have come already.
        done: called with the body, when the connection has its transport again.
        room: memory for `length` bytes; None: some of its own.
    """

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        length: int,
        first: memoryview,
        done: Callable[[memoryview], None],
        room: memoryview | None = None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._done = done
        # Unlike bytearray, which would be filled with zeros first.
        self._body = np.empty(length, np.uint8).data if room is None else room
        self._body[: len(first)] = first
        self._at = len(first)
        self._give_to(self)

    def get_buffer(self, _hint: int) -> memoryview:
        """Return where the next bytes belong."""
        return self._body[self._at :]

    def buffer_updated(self, count: int) -> None:
        """Note that so many have come."""
        self._at += count
        if self._at == len(self._body):
            self._give_to(cast(asyncio.Protocol, self._connection))
            body, self._body = self._body, _NOTHING
            self._done(body)

    def _give_to(self, protocol: asyncio.BaseProtocol) -> None:
        # Between pauses, because how a transport reads is settled when it begins to.
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()

    def eof_received(self) -> None:
        """The body will never be whole; the transport closes."""

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._body = _NOTHING  # it may be shared memory, which others can use
        self._connection.connection_lost(error)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._connection.resume_writing()
