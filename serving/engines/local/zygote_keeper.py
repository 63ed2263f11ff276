"""The zygote of an instance: started again when it is lost, while what it has made goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from serving.channel.messages.directory import ServedModel
from serving.engines.children import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    STEADY_S,
    ForkedChild,
    ZygoteClient,
)
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

HOPELESS: Final = 5
"""Zygotes in a row that ended before they were ready."""


class ZygoteKeeper:
    """Keeps a zygote running until told to stop; orders wait for the next one. Of one loop.

    Attributes:
        on_start: told the pid of every zygote.
        hopeless: whether several in a row have never got ready; another is tried all the same.
    """

    def __init__(self) -> None:
        self.on_start: Callable[[int], object] = lambda _pid: None
        self.hopeless = False
        self._client: ZygoteClient | None = None
        self._there = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._in_vain = 0

    async def start(self) -> None:
        """Start the first one.

        Raises:
            OSError: no process can be started.
        """
        await self._renew()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def fork(
        self,
        role: str,
        served: ServedModel,
        ident: str,
        address: str,
        registry: str,
        secret: bytes | None,
    ) -> ForkedChild:
        """Fork a role's process and return it, by the next zygote if this one is lost meanwhile.

        Raises:
            OSError: no process can be forked.
        """
        while True:
            await self._there.wait()
            client = self._client
            assert client is not None
            with contextlib.suppress(ConnectionError):
                return await client.fork(role, served, ident, address, registry, secret)
            if client is self._client:  # else there is another one already
                self._there.clear()

    async def stop(self) -> None:
        """End it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        if self._client is not None:
            await self._client.stop()

    async def _renew(self) -> None:
        client = ZygoteClient()
        self.on_start(await client.start())
        self._client = client
        self._there.set()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            assert self._client is not None
            await asyncio.shield(self._client.lost)
            self._there.clear()
            self._in_vain = 0 if self._client.ready else self._in_vain + 1
            self.hopeless = self._in_vain >= HOPELESS
            await self._client.stop()
            said = "the zygote ended and is started again; what it had started goes on"
            report(Event.PROCESS_ENDED, said, process="zygote")
            if loop.time() - started > STEADY_S:
                pause = FIRST_PAUSE_S
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                try:
                    await self._renew()
                    break
                except OSError as error:
                    said = f"the zygote cannot be started: {error}"
                    report(Event.PROCESS_NOT_STARTED, said, error=error, process="zygote")
