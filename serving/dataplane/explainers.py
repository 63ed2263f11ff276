"""Reaching the explainer of a model from the gateway; the first question has it started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import Directory
from serving.channel.messages.explanation import EXPLAIN, ExplainMeta
from serving.channel.peer import Peer
from serving.errors import DeadlineExceeded, ModelNotReady
from serving.protocol.messages import Tensor

PATIENCE_S: Final = 60.0
"""For so long a question waits for an explainer that is still starting, if it may take as long."""
RETRY_S: Final = 0.2
"""Pause before the next attempt to connect."""


class ExplainerPool:
    """One connection per explainer, opened when it is first asked, and kept.

    Args:
        secret: the cluster's secret for TCP channels; None on one host.
        patience_s: how long a question waits for an explainer that is not there yet.

    Attributes:
        order: has the explainer of a model and version started; returns once it is there, and
            raises `ModelNotReady` with the reason if it cannot be.
    """

    def __init__(self, secret: bytes | None, patience_s: float = PATIENCE_S) -> None:
        self._secret = secret
        self._patience_s = patience_s
        self.order: Callable[[str, str], Awaitable[None]] = _nobody
        self._orders: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._addresses: dict[tuple[str, str], str] = {}
        self._peers: dict[str, Peer] = {}
        self._closed = False

    def on_directory(self, directory: Directory) -> None:
        """Learn where the explainers are."""
        self._addresses = {
            (member.model, member.version): member.address
            for member in directory.of_role("explainer")
        }
        self._forget_lost()
        self._changed.set()
        self._changed = asyncio.Event()

    async def explain(
        self, model: str, version: str, meta: ExplainMeta, tensors: Sequence[Tensor]
    ) -> Message:
        """Ask the explainer of a model version and wait for `meta.timeout_s` at most.

        Raises:
            ModelNotReady: it cannot be started, or not in time, or went away while it worked.
            DeadlineExceeded: the time is over.
            VigilError: what the explainer answered.
        """
        limit = meta.timeout_s
        until = None if limit is None else asyncio.get_running_loop().time() + limit
        patience_s = self._patience_s if limit is None else min(limit, self._patience_s)
        address = await self._address(model, version, patience_s)
        try:
            async with asyncio.timeout_at(until):
                connection = await self._reached(model, version, address, patience_s)
                return await connection.request(EXPLAIN, meta, tensors)
        except ChannelClosed:
            raise ModelNotReady(
                f"the explainer of model '{model}' went away; retry later", retry_after_s=1
            ) from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"no explanation of model '{model}' within {meta.timeout_s:g} s; send fewer rows, "
                "ask for fewer steps or samples, or allow more time (`explain.max_seconds`)"
            ) from None

    async def _reached(
        self, model: str, version: str, address: str, patience_s: float
    ) -> Connection:
        """Return a connection. Nothing was asked yet, so one that fails is tried again.

        An explainer that has just registered may be too busy to shake hands in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while True:
            try:
                return await self._connection(address)
            except ChannelClosed:
                if self._closed or loop.time() + RETRY_S >= until:
                    raise
            await asyncio.sleep(RETRY_S)
            # It may have died, and another one started in its place.
            address = await self._address(model, version, until - loop.time())

    async def _address(self, model: str, version: str, patience_s: float) -> str:
        try:
            async with asyncio.timeout(patience_s):
                while (address := self._addresses.get((model, version))) is None:
                    changed = self._changed
                    await self._ordered(model, version)
                    # The directory that tells its address may be on its way still.
                    if (model, version) not in self._addresses:
                        await changed.wait()
                return address
        except TimeoutError:
            raise ModelNotReady(
                f"the explainer of model '{model}' is not ready: it starts with the first "
                f"question, and has not within {patience_s:g} s; retry later",
                retry_after_s=1,
            ) from None

    async def _ordered(self, model: str, version: str) -> None:
        """Order an explainer; questions that come meanwhile wait for the same order."""
        key = (model, version)
        task = self._orders.get(key)
        if task is None or task.done():
            task = asyncio.ensure_future(self.order(model, version))
            task.add_done_callback(_seen)
            self._orders[key] = task
        await asyncio.shield(task)

    async def _connection(self, address: str) -> Connection:
        """Return a connection; whoever waits for an explainer waits for no other one."""
        peer = self._peers.get(address)
        if peer is None:
            peer = self._peers[address] = Peer(
                f"the explainer at {address}", self._secret, on_down=self._forget_lost
            )
            peer.reach(address)
        return await peer.connected()

    def _forget_lost(self) -> None:
        """Do not come back to explainers that the directory has no more."""
        told = set(self._addresses.values())
        for address, peer in list(self._peers.items()):
            if address not in told and peer.connection is None:
                del self._peers[address]
                peer.close()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for order in self._orders.values():
            order.cancel()
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.close()


async def _nobody(_model: str, _version: str) -> None:
    """Nobody starts explainers on demand here."""


def _seen(task: asyncio.Task[None]) -> None:
    """See the error of an order for which nobody may wait any more."""
    if not task.cancelled():
        task.exception()
