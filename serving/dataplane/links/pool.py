"""The links of a gateway: one to each replica of the directory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.messages.directory import ModelKey
from serving.config import InputSpec
from serving.dataplane.links.link import ChannelLink


class _Reached(msgspec.Struct, frozen=True):
    link: ChannelLink
    address: str
    key: ModelKey


class LinkPool:
    """Keeps one channel link per replica in the directory: connects, and notices losses.

    Args:
        connect: opens a connection to an address; `on_closed` is called when it is gone.
        on_up, on_down: told about every link that appears or is lost.
        on_failed: told that a replica could not be reached, so that somebody opens it again.
    """

    def __init__(
        self,
        connect: Callable[[str, Callable[[Connection], None]], Awaitable[Connection]],
        on_up: Callable[[ModelKey, ChannelLink], None],
        on_down: Callable[[ModelKey, ChannelLink], None],
        on_failed: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._on_up = on_up
        self._on_down = on_down
        self._on_failed = on_failed
        self._links: dict[str, _Reached] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    def open(
        self,
        model: str,
        version: str,
        revision: str,
        ident: str,
        address: str,
        specs: dict[str, InputSpec],
    ) -> None:
        """Connect to a replica unless that is done or under way."""
        if ident in self._opening:
            return
        known = self._links.get(ident)
        if known is not None:
            if known.address != address:
                # Its successor is elsewhere, so it is dead, although its host may have died with
                # it and never say so. That its link is lost makes somebody open it again.
                known.link.connection.abort()
            return
        task = asyncio.get_running_loop().create_task(
            self._open((model, version, revision), ident, address, specs)
        )
        self._opening[ident] = task
        task.add_done_callback(lambda task: self._opened(ident, task))

    def release(self, model: str, version: str, revision: str) -> list[ChannelLink]:
        """Forget the links to a revision and return them; the caller closes them."""
        key = (model, version, revision)
        gone = [ident for ident, known in self._links.items() if known.key == key]
        return [self._links.pop(ident).link for ident in gone]

    def close(self) -> None:
        """Close every connection."""
        for task in self._opening.values():
            task.cancel()
        for known in list(self._links.values()):
            known.link.connection.close()

    def _opened(self, ident: str, task: asyncio.Task[None] | None) -> None:
        if self._opening.get(ident) is task:
            del self._opening[ident]

    async def _open(
        self, key: ModelKey, ident: str, address: str, specs: dict[str, InputSpec]
    ) -> None:
        link: ChannelLink | None = None

        def lost(_connection: Connection) -> None:
            if link is None:
                return
            known = self._links.get(ident)
            if known is not None and known.link is link:
                del self._links[ident]
            self._on_down(key, link)

        connection: Connection | None = None
        try:
            # In vain if it died again, or computes for so long that it cannot shake hands in time.
            with contextlib.suppress(ChannelClosed):
                connection = await self._connect(address, lost)
        finally:
            # Before anybody is told, who may ask for it again at once.
            self._opened(ident, asyncio.current_task())
        if connection is None or connection.closed:  # lost before `lost` could meet a link
            self._on_failed()
            return
        assert connection.peer is not None
        connection.follow_progress()
        link = ChannelLink(ident, connection, max(1, connection.peer.slots), specs)
        self._links[ident] = _Reached(link, address, key)
        self._on_up(key, link)
