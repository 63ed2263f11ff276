"""Sends the directory to whoever follows it: at once, and then not more often than is of use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from serving.channel.connection import Connection
from serving.channel.messages.directory import Directory

PUSH_S: Final = 0.02
"""Changes within so many seconds of a push travel together: a hundred replicas that register one
after the other would else send a hundred directories to everybody."""


class DirectoryPush:
    """The latest directory on its way. Belongs to one loop.

    Args:
        followers: the connections of all who follow it.
    """

    def __init__(self, followers: Callable[[], Iterable[Connection]]) -> None:
        self._followers = followers
        self._latest: Directory | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    def settle(self, seconds: float) -> None:
        """Send nothing for so long, and then what is latest."""
        self._settling = asyncio.get_running_loop().call_later(seconds, self.settled)

    def settled(self) -> None:
        """Send from now on."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        self._push()

    def stop(self) -> None:
        """Send nothing any more that is not sent."""
        for timer in (self._settling, self._pause):
            if timer:
                timer.cancel()

    def offer(self, directory: Directory) -> None:
        """Send a directory to all followers, now or with what comes within a moment."""
        self._latest = directory
        if self._settling is None and self._pause is None:
            self._push()

    def _push(self) -> None:
        directory, self._latest = self._latest, None
        if directory is None:
            return
        for connection in self._followers():
            connection.notify("directory", directory)
        self._pause = asyncio.get_running_loop().call_later(PUSH_S, self._over)

    def _over(self) -> None:
        self._pause = None
        self._push()
