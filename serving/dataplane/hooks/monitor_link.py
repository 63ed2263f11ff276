"""One monitor as a gateway sees it: the connection, and the messages on their way there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.frame_parts import Message
from serving.channel.messages import observation
from serving.channel.messages.observation import EventMeta, Taken
from serving.channel.monitor_shares import called
from serving.channel.peer import Peer
from serving.dataplane.hooks.delivery import Delivery
from serving.errors import ModelNotReady
from serving.protocol.messages import Tensor

_decode_taken: Final = msgspec.msgpack.Decoder(Taken).decode

BEGIN_S: Final = 5.0
"""A monitor says within it what it has of this gateway, or is as good as none."""


class MonitorLink:
    """Reaches one monitor. Belongs to one loop.

    Args:
        ident: the monitor's id.
        delivery: messages for it.
        secret: the cluster's secret for TCP channels; None on one host.
        on_up: called when it can be reached.

    Attributes:
        delivery: messages for it.
    """

    def __init__(
        self, ident: str, delivery: Delivery, secret: bytes | None, on_up: Callable[[], None]
    ) -> None:
        self._called = called(ident)
        self.delivery = delivery
        self._on_up = on_up
        self._peer = Peer(
            self._called,
            secret,
            on_up=self._up,
            on_down=delivery.down,
            on_message=self._message,
        )

    @property
    def connected(self) -> bool:
        """Whether the monitor is there to take events."""
        return self._peer.connection is not None

    def reach(self, address: str) -> None:
        """Connect there, and reconnect by itself from then on."""
        self._peer.reach(address)

    def close(self) -> list[EventMeta]:
        """Close the connection; returns the messages that were never written."""
        never = self.delivery.give_up()
        self._peer.close()
        return never

    async def request(self, kind: str, meta: object, tensors: Sequence[Tensor]) -> Message:
        """Ask the monitor; what is to be delivered now goes ahead.

        Raises:
            ModelNotReady: it is not there, it has not begun to take events, or it went away
                before it answered.
            VigilError: what it answered.
        """
        if (connection := self._peer.connection) is not None:
            with contextlib.suppress(ChannelClosed, TimeoutError):
                async with asyncio.timeout(BEGIN_S):
                    await self.delivery.begun(connection)
                return await connection.request(kind, meta, tensors)
        raise ModelNotReady(f"{self._called} is not there; retry later", retry_after_s=1)

    def _up(self, connection: Connection) -> None:
        self.delivery.up(connection)
        self._on_up()

    def _message(self, connection: Connection, message: Message) -> None:
        if message.kind == observation.TAKEN:
            self.delivery.taken(connection, _decode_taken(message.meta))
