"""Messages on their way to the monitor: each is kept until the monitor says that it has it.

A monitor that is restarted gets what its predecessor had not made safe, once and in order. What is
kept is bounded; who has more must drop it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.messages.observation import EVENTS, POSITION, EventMeta, Position, Taken
from serving.protocol.messages import Tensor
from serving.protocol.weight import weight

_RETRY_S: Final = 0.05
_PER_REQUEST: Final = 300
"""Bytes of a request's id, numbers and outcome as objects, at least."""
_REFERENCE: Final = 8


class _Kept(msgspec.Struct):
    meta: EventMeta
    tensors: Sequence[Tensor]
    bytes: int
    sent: bool = False


class Delivery:
    """Numbers messages, sends them, and sends again what was lost on the way.

    Args:
        gateway: its id.
        incarnation: tells this process from an earlier one with the same id.
        most_bytes: of messages that are kept; may be changed.
        unsent_bytes: while the connection holds more than this, messages wait here.
        on_sent: called with each message when it is written for the first time.

    Attributes:
        next: the position of the next message.
        bytes: of messages that are kept, about.
        unsent_rows: of messages that were not written yet.
    """

    def __init__(
        self,
        gateway: str,
        incarnation: int,
        *,
        most_bytes: int,
        unsent_bytes: int,
        on_sent: Callable[[EventMeta], None],
    ) -> None:
        self.most_bytes, self._unsent_bytes = most_bytes, unsent_bytes
        self._on_sent = on_sent
        self.next = Position(gateway, incarnation, 0, 0, 0)
        self.bytes = 0
        self.unsent_rows = 0
        self._kept: deque[_Kept] = deque()
        self._connection: Connection | None = None
        self._asked: Connection | None = None
        """Over this one the monitor was asked what it has."""
        self._retry: asyncio.TimerHandle | None = None
        self._written = 0
        """So many of the kept messages were written to this connection."""
        self._waiters: list[asyncio.Future[None]] = []

    # -- the connection -----------------------------------------------------------------

    def up(self, connection: Connection) -> None:
        """Ask a monitor that is there now what it has; nothing is sent before it says so."""
        self._connection, self._asked = None, connection
        oldest = self._kept[0].meta.position if self._kept else self.next
        connection.notify(POSITION, oldest)

    def down(self) -> None:
        """Wait for the next connection."""
        self._connection = self._asked = None
        self._wake()

    async def begun(self, connection: Connection) -> None:
        """Wait until the messages that are kept go over a connection, ahead of what is asked there.

        Raises:
            ChannelClosed: it was lost before.
        """
        while self._connection is not connection:
            if connection is not self._asked:
                raise ChannelClosed("connection lost", begun=False)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # whoever waited has given up
                waiter.set_result(None)

    def taken(self, connection: Connection, taken: Taken) -> None:
        """Keep no longer what the monitor has; after a connect, send it the rest."""
        if taken.incarnation != self.next.incarnation:
            return
        while self._kept and self._kept[0].meta.position.sequence < taken.sequence:
            gone = self._kept.popleft()
            self.bytes -= gone.bytes
            self._written = max(0, self._written - 1)
            if not gone.sent:  # an impossible answer must not make the counts wrong
                self._count(gone)
        if connection is not self._connection:
            self._connection, self._written = connection, 0
        self.send()
        if self._waiters:
            self._wake()

    # -- messages -----------------------------------------------------------------------

    def room(self, size: int) -> bool:
        """Whether a message of about so many bytes can be kept."""
        return not self._kept or self.bytes + size <= self.most_bytes

    def add(self, meta: EventMeta, tensors: Sequence[Tensor], size: int) -> None:
        """Take a message at position `next`, and send it as soon as that is possible."""
        requests, rows = len(meta.ids), sum(meta.rows)
        before = self.next
        self.next = Position(
            before.gateway,
            before.incarnation,
            before.sequence + 1,
            before.requests + requests,
            before.rows + rows,
        )
        self._kept.append(_Kept(meta, tensors, size))
        self.bytes += size
        self.unsent_rows += rows
        self.send()

    def send(self) -> None:
        """Write what was not written to this connection, as long as it takes it."""
        connection = self._connection
        if connection is None or connection.closed or self._written == len(self._kept):
            return
        for kept in islice(self._kept, self._written, None):
            if connection.unsent_bytes > self._unsent_bytes:
                self._later()
                return
            connection.notify(EVENTS, kept.meta, kept.tensors)
            self._written += 1
            if not kept.sent:
                self._count(kept)

    def _later(self) -> None:
        """Try again soon: nobody tells when a connection has room again."""
        if self._retry is None or self._retry.when() <= asyncio.get_running_loop().time():
            self._retry = asyncio.get_running_loop().call_later(_RETRY_S, self.send)

    def give_up(self) -> list[EventMeta]:
        """Return the messages that were never written; nothing is kept any more."""
        never = [kept.meta for kept in self._kept if not kept.sent]
        self._kept.clear()
        if self._retry is not None:
            self._retry.cancel()
        self.bytes = self.unsent_rows = self._written = 0
        return never

    def _count(self, kept: _Kept) -> None:
        kept.sent = True
        self.unsent_rows -= sum(kept.meta.rows)
        self._on_sent(kept.meta)


def size_of(
    ids: Sequence[str], tensors: Sequence[Tensor], sensitive: Mapping[str, Sequence[str | None]]
) -> int:
    """Return about how many bytes a message holds: its arrays, and what is told of each request.

    Of refused requests there are few arrays, and of these come the most when least is taken.

    Args:
        ids: of the requests.
        tensors: of the message.
        sensitive: text or None per row, by attribute.
    """
    requests = _PER_REQUEST * len(ids) + sum(map(len, ids))
    texts = sum(_REFERENCE * len(of) + sum(map(len, filter(None, of))) for of in sensitive.values())
    return requests + texts + sum(weight(tensor.data) for tensor in tensors)
