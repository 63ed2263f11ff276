"""A role's link to the control plane, in a thread of its own: long computing never silences it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from serving.channel.messages.directory import Member
from serving.channel.messages.reports import Report
from serving.channel.registry_client import RegistryClient


class ReporterThread:
    """Runs a `RegistryClient` on its own loop in a daemon thread.

    Args:
        registry_address: the control plane's channel address.
        secret: the cluster's secret for TCP channels.
        member: what the role is.
        report: makes the report; called in this thread, so it may only read.
    """

    def __init__(
        self,
        registry_address: str,
        secret: bytes | None,
        member: Member,
        report: Callable[[], Report],
    ) -> None:
        self._arguments = (registry_address, secret, member, report)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._main, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send a last report, leave, and join the thread."""
        self._ended = True  # first: the thread may only just be about to make its loop
        if self._loop and self._stop:
            with contextlib.suppress(RuntimeError):  # it has just ended its loop
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._ended:
            return
        client = RegistryClient(*self._arguments)
        client.start()
        await self._stop.wait()
        await client.stop()
