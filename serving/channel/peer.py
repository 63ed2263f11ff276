"""A connection that is opened again whenever it is lost: one client for all that need to stay up.

Whoever only asks one question, or must decide itself whether to come back (a link to a replica
depends on the directory and on its example), uses `connect`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.endpoint import connect
from serving.channel.frame_parts import Message
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 0.5
"""Shorter than a control plane that replaces a dead one waits for the roles (`settle_s`)."""
LASTING_S: Final = 1.0
"""A connection that held for so long was a good one: after it pauses begin anew."""
GRACE_S: Final = 5.0
"""A peer that is back within this time was only restarted, which others log."""


class State(Enum):
    """What a peer does now."""

    IDLE = "no address is known"
    CONNECTING = "an attempt is under way"
    UP = "the connection is open"
    WAITING = "the next attempt comes after a pause"
    CLOSED = "nobody wants it any more"


def _ignore(_connection: Connection, _message: Message) -> None:
    """Take a message that this end has no use for."""


class Peer:
    """Keeps one connection to an address that may change. Belongs to one loop.

    A lost connection is opened again after a pause that doubles with each failure, and at once
    when somebody asks for it (`connected`).

    Args:
        what: what is at the other end, for the log, for example `the control plane`.
        secret: the cluster's secret, for TCP.
        on_up: called with each connection in the turn in which it is open.
        on_down: called when one that was up is lost, or given up for another address.
        on_message: called with what the peer says unasked.
    """

    def __init__(
        self,
        what: str,
        secret: bytes | None,
        *,
        on_up: Callable[[Connection], None] = lambda _connection: None,
        on_down: Callable[[], None] = lambda: None,
        on_message: Callable[[Connection, Message], None] = _ignore,
    ) -> None:
        self._what = what
        self._secret = secret
        self._on_up = on_up
        self._on_down = on_down
        self._on_message = on_message
        self.address = ""
        self.state = State.IDLE
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._pause_s = FIRST_PAUSE_S
        self._up_at = 0.0
        self._down_at: float | None = None
        self._told: set[str] = set()
        """Causes that were logged since the peer could be reached last."""
        self._waiters: list[asyncio.Future[Connection | str]] = []
        """Get the connection, or why there is none; an error in a future would keep its frames."""

    @property
    def connection(self) -> Connection | None:
        """The connection, while it is open."""
        connection = self._connection
        return None if connection is None or connection.closed else connection

    def reach(self, address: str) -> None:
        """Keep a connection to this address from now on, and none to the one before."""
        if self.state is State.CLOSED or address == self.address:
            return
        self.address = address
        self._pause_s = FIRST_PAUSE_S
        self._let_go()
        self._try()

    async def connected(self) -> Connection:
        """Return the open connection; if there is none, try now, without a pause.

        Raises:
            ChannelClosed: the attempt fails, or nobody wants the peer any more.
        """
        if (connection := self.connection) is not None:
            return connection
        if self.state in (State.IDLE, State.CLOSED):
            raise ChannelClosed(f"{self._what} cannot be reached: {self.state.value}")
        waiter: asyncio.Future[Connection | str] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self.state is State.WAITING:
            self._try()
        found = await waiter
        if isinstance(found, str):
            raise ChannelClosed(found)
        return found

    def close(self) -> None:
        """Close the connection once what was written is sent, and open no other."""
        self.state = State.CLOSED
        self._let_go()
        self._answer_waiters(f"{self._what} is not wanted any more")

    # -- attempts -----------------------------------------------------------------------

    def _let_go(self) -> None:
        """Give up an attempt, a pause or a connection."""
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._on_down()

    def _try(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self.state = State.CONNECTING
        loop = asyncio.get_running_loop()
        self._down_at = loop.time() if self._down_at is None else self._down_at
        self._attempt = loop.create_task(self._connect(self.address))

    async def _connect(self, address: str) -> None:
        try:
            connection = await connect(
                address, self._secret, on_message=self._on_message, on_closed=self._lost
            )
        except ChannelClosed as error:
            self._attempt = None
            self._failed(str(error))
            return
        self._attempt = None
        if connection.closed:
            self._failed("it closes every connection at once")
            return
        self._came_up(connection)

    def _came_up(self, connection: Connection) -> None:
        self.state = State.UP
        self._connection = connection
        self._up_at = asyncio.get_running_loop().time()
        self._down_at = None
        if self._told:
            self._told.clear()
            report(Event.PEER_BACK, f"{self._what} can be reached again")
        self._answer_waiters(connection)
        self._on_up(connection)

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:  # given up, or never up
            return
        self._connection = None
        if asyncio.get_running_loop().time() - self._up_at >= LASTING_S:
            self._pause_s = FIRST_PAUSE_S
        self._on_down()
        if self.state is State.UP:  # `on_down` may have closed it, or sent it elsewhere
            self._wait()

    def _failed(self, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._down_at is not None and now - self._down_at >= GRACE_S and why not in self._told:
            self._told.add(why)
            said = f"{self._what} cannot be reached and is tried again and again: {why}"
            report(Event.PEER_UNREACHABLE, said)
        self._wait()
        self._answer_waiters(why)

    def _wait(self) -> None:
        self.state = State.WAITING
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._pause = asyncio.get_running_loop().call_later(pause_s, self._try)

    def _answer_waiters(self, found: Connection | str) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # whoever waited has given up
                waiter.set_result(found)
