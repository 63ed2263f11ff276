"""What every connection of the direct ingress has, whatever protocol its client speaks."""

from __future__ import annotations

import asyncio
import select
from abc import abstractmethod
from typing import Final, cast

from serving.gateway.direct.peer import Peer
from serving.gateway.direct.state import ServerState

NEVER: Final = float("inf")
SLOWEST: Final = 1024
"""Bytes a second that a client must take of its answers, after a first pause of `stall_s`."""
MOST_AHEAD: Final = 256 << 10
"""Bytes that wait to be worked on; with more of them, no more are read."""


class Connection:
    """One connection from its first byte to its last.

    It is what a transport asks of a protocol, and does not inherit from `asyncio.Protocol`: only a
    class without interpreted bases has quick attributes when it is compiled.

    Args:
        state: what all connections share.
        transport: the connection.
        peer: who is at its other end.
    """

    def __init__(self, state: ServerState, transport: asyncio.Transport, peer: Peer) -> None:
        self._state = state
        self._transport = transport
        self._peer = peer
        self._stalled = False
        self._full = False
        self._stuck = NEVER
        """When a client that leaves its answers unread is given up."""
        self._unread = 0
        self._later: list[bytes] = []
        """What was received and waits to be worked on."""
        self._at = 0
        """How many bytes of the first of them have been worked on."""
        self._later_size = 0
        self._half_closed = False
        """Whether the client has shut its side: nothing more comes."""
        self.queued = self.greedy = False
        self.deadline = state.clock.head_until
        state.connections.open.add(self)

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take in what the client sent."""

    def eof_received(self) -> bool:
        """The client has shut its side; whether the connection stays open all the same."""
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is gone."""
        self._state.connections.open.discard(self)
        self.deadline = self._stuck = NEVER
        self._give_up_later()
        self.lost()

    # -- what waits to be worked on -----------------------------------------------------

    def work(self) -> bool:
        """Go on with what waits, while the slice lasts; True if nothing is left to do now."""
        return True

    def _keep(self, data: bytes, at: int = 0) -> None:
        """Keep what cannot be worked on now, from `at` on; read no more with too much of it."""
        if not self._later:
            self._at = at
        self._later.append(data)
        self._later_size += len(data)
        if self._later_size > MOST_AHEAD and not self._full:
            self._full = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def _next_data(self) -> tuple[bytes, int]:
        """Take what waits, in one, and where to go on in it."""
        later, at = self._later, self._at
        if len(later) == 1:
            data = later[0]
        else:
            later[0] = later[0][at:]
            data, at = b"".join(later), 0
        self._drop_later()
        return data, at

    def _drop_later(self) -> None:
        self._later = []
        self._later_size = self._at = 0

    def _give_up_later(self) -> None:
        """The connection ends: what waits is not worked on."""
        self._drop_later()
        self.queued = False

    def _read_on(self) -> None:
        """Nothing waits any more: read again, if that was why nothing was read."""
        if self._full:
            self._full = False
            if not self._stalled and not self._half_closed and not self._transport.is_closing():
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client does not read: take nothing more from it."""
        self._stalled = True
        self._watch()
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stalled = False
        if self._transport.is_closing():
            return  # what is left must still be read
        self._stuck = NEVER
        if not self._full and not self._half_closed:
            self._transport.resume_reading()
        if self._later:
            self._state.slices.queue(self)

    def sweep(self, now: float) -> None:
        """Look whether the connection is too slow, and end it if so."""
        self.greedy = False
        if self.queued:  # its bytes are here and wait for us
            self._prolong(self._state.clock.elapsed_s)
        if self._stuck != NEVER:
            unread = self._transport.get_write_buffer_size()
            taken = max(0, self._unread - unread)
            self._stuck = min(self._state.clock.stall_until, self._stuck + taken / SLOWEST)
            self._unread = unread
            if self._stuck < now:
                self._transport.abort()
        elif self.deadline < now:
            self.too_slow()

    def _prolong(self, seconds: float) -> None:
        """Allow the client more time: so much was not its own."""
        self.deadline += seconds

    def close(self) -> None:
        """Close once the client has read what was written."""
        self._transport.close()
        self._watch()

    def leave(self) -> None:
        """Close, but not before the client has had a chance to read why."""
        self._state.connections.open.discard(self)
        if not self._transport.is_closing():
            LingeringClose(self._state, self._transport, self._peer)
        self._give_up_later()
        self.lost()

    def _hung_up(self) -> bool:
        """Whether the system knows already that nobody is at the other end."""
        connected = self._transport.get_extra_info("socket")
        poll = select.poll()
        poll.register(connected.fileno(), 0)  # errors are always told
        return bool(poll.poll(0))

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    def _watch(self) -> None:
        self._stuck = self._state.clock.stall_until
        self._unread = self._transport.get_write_buffer_size()

    @abstractmethod
    def lost(self) -> None:
        """Nobody is there any more: give up what is under way."""

    @abstractmethod
    def too_slow(self) -> None:
        """The deadline has passed."""

    @abstractmethod
    def stop(self) -> None:
        """The gateway is about to stop: say so with the next answer."""

    @abstractmethod
    def stopped(self) -> None:
        """Take nothing new, and end after what is under way."""


class LingeringClose(Connection):
    """A connection whose last answer is written; what still comes is thrown away for a moment.

    Were it closed at once, what the client is still sending would be answered with a reset, which
    may reach it before it has read the answer.
    """

    def __init__(self, state: ServerState, transport: asyncio.Transport, peer: Peer) -> None:
        super().__init__(state, transport, peer)
        self.deadline = state.clock.linger_until
        transport.set_protocol(cast(asyncio.Protocol, self))
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()

    def data_received(self, _data: bytes) -> None:
        """It comes too late."""

    def pause_writing(self) -> None:
        """Nothing is written any more."""

    def lost(self) -> None:
        """Nothing was under way."""

    def too_slow(self) -> None:
        """The client has had its moment."""
        self.deadline = NEVER
        self.close()

    def stop(self) -> None:
        """It is stopping."""

    def stopped(self) -> None:
        """It is stopping."""
