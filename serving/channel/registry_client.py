"""A role's connection to the control plane: it registers, reports, and receives the directory.

The connection itself is the lease: when a role dies its socket closes and the control plane forgets
    it at
once. When the control plane dies, roles keep the last directory they were given and reconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.control import DEADLY, ENDED, DeadlyMeta, EndedMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.reports import REPORT, Report
from serving.channel.peer import Peer
from serving.errors import ModelNotReady
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report as log

_decode_directory = msgspec.msgpack.Decoder(Directory).decode
_decode_ended = msgspec.msgpack.Decoder(EndedMeta).decode
_decode_deadly = msgspec.msgpack.Decoder(DeadlyMeta).decode


class RegistryClient:
    """A role's connection to the control plane: registers, reports, and receives the directory.

    Args:
        address: the control plane's channel address.
        secret: the cluster's secret, for TCP.
        member: what this role is; registered again after every reconnect.
        report: called every `interval_s` to make the report.
        on_up: called after every (re)connect, once the control plane knows who is there.
        on_directory: called with every new directory, in the loop's thread.
        on_drain: called when the instance is about to stop.
        on_ended: called with how the process of a replica ended, where the control plane knows.
        on_deadly: called with requests that ended a replica, as other gateways found out.
    """

    def __init__(
        self,
        address: str,
        secret: bytes | None,
        member: Member,
        report: Callable[[], Report],
        *,
        on_up: Callable[[], None] | None = None,
        on_directory: Callable[[Directory], None] | None = None,
        on_drain: Callable[[], None] | None = None,
        on_ended: Callable[[EndedMeta], None] | None = None,
        on_deadly: Callable[[DeadlyMeta], None] | None = None,
        interval_s: float = 1.0,
    ) -> None:
        self._address = address
        self._member = member
        self._report = report
        self._on_up = on_up
        self._on_directory = on_directory
        self._on_drain = on_drain
        self._on_ended = on_ended
        self._on_deadly = on_deadly
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None
        self._peer = Peer(
            "the control plane",
            secret,
            on_up=self._up,
            on_down=self._down,
            on_message=self._message,
        )

    def start(self) -> None:
        """Begin to connect, register and report; needs a running loop."""
        self._peer.reach(self._address)

    async def stop(self) -> None:
        """Send a last report and leave."""
        self.report_now()
        self._peer.close()

    async def request(self, kind: str, meta: object) -> Message:
        """Ask the control plane and return its reply.

        Raises:
            ModelNotReady: the control plane cannot be reached, or went away meanwhile.
            VigilError: what the control plane answered.
        """
        if (connection := self._peer.connection) is None:
            raise ModelNotReady("the control plane cannot be reached; retry later", retry_after_s=1)
        try:
            return await connection.request(kind, meta)
        except ChannelClosed:
            raise ModelNotReady(
                "the control plane went away, and may have done it or not; look, then retry",
                retry_after_s=1,
            ) from None

    @property
    def connected(self) -> bool:
        """Whether the control plane can be told something now."""
        return self._peer.connection is not None

    def notify(self, kind: str, meta: object) -> None:
        """Tell the control plane something; lost if it cannot be reached."""
        if (connection := self._peer.connection) is not None:
            connection.notify(kind, meta)

    def tell_deadly(self, deadly: DeadlyMeta) -> None:
        """Have the other gateways told of a request; lost if the control plane is not there."""
        self.notify(DEADLY, deadly)

    def report_now(self) -> None:
        """Send a report without waiting for the interval."""
        if not self.connected:
            return
        try:
            report = self._report()
        except Exception as error:  # noqa: BLE001 - a fault in one must not end all later ones
            said = f"{self._member.id} could not report to the control plane"
            log(Event.OBSERVATION_FAILED, said, error=error)
            return
        self.notify(REPORT, report)

    def _up(self, connection: Connection) -> None:
        connection.notify("register", self._member)
        if self._on_up:
            self._on_up()
        self._report_regularly()

    def _down(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _report_regularly(self) -> None:
        self.report_now()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval_s, self._report_regularly)

    def _message(self, _connection: Connection, message: Message) -> None:
        if message.kind == "drain" and self._on_drain:
            self._on_drain()
        elif message.kind == ENDED and self._on_ended:
            self._on_ended(_decode_ended(message.meta))
        elif message.kind == DEADLY and self._on_deadly:
            self._on_deadly(_decode_deadly(message.meta))
        elif message.kind == "directory" and self._on_directory:
            self._follow(message, self._on_directory)

    def _follow(self, message: Message, follow: Callable[[Directory], None]) -> None:
        """Take in a directory. One that cannot be must not cost the lease: it would come again."""
        generation = 0
        try:
            directory = _decode_directory(message.meta)
            generation = directory.generation
            follow(directory)
        except Exception as error:  # noqa: BLE001
            log(
                Event.DIRECTORY_NOT_FOLLOWED,
                f"{self._member.id} cannot follow the directory and goes on as before",
                error=error,
                generation=generation,
            )
