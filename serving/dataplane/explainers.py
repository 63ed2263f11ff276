"""Reaching the explainer of a model from the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.directory import Directory
from serving.channel.endpoint import connect
from serving.channel.explanation import EXPLAIN
from serving.channel.frames import Message
from serving.errors import ModelNotReady
from serving.protocol.messages import Tensor


class ExplainerPool:
    """One connection per explainer, opened when it is first asked.

    Args:
        secret: the cluster's secret for TCP channels; None on one host.
    """

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret
        self._addresses: dict[tuple[str, str], str] = {}
        self._connections: dict[str, Connection] = {}
        self._lock = asyncio.Lock()

    def on_directory(self, directory: Directory) -> None:
        """Learn where the explainers are."""
        self._addresses = {
            (member.model, member.version): member.address
            for member in directory.of_role("explainer")
        }

    async def explain(
        self, model: str, version: str, meta: object, tensors: Sequence[Tensor]
    ) -> Message:
        """Ask the explainer of a model version.

        Raises:
            ModelNotReady: it is not there, or went away while it worked.
            VigilError: what the explainer answered.
        """
        address = self._addresses.get((model, version))
        if address is None:
            raise ModelNotReady(
                f"the explainer of model '{model}' is not ready; retry later", retry_after_s=1
            )
        try:
            connection = await self._connection(address)
            return await connection.request(EXPLAIN, meta, tensors)
        except ChannelClosed:
            raise ModelNotReady(
                f"the explainer of model '{model}' went away; retry later", retry_after_s=1
            ) from None

    async def _connection(self, address: str) -> Connection:
        async with self._lock:
            connection = self._connections.get(address)
            if connection is None or connection.closed:
                connection = await connect(address, self._secret)
                self._connections[address] = connection
            return connection

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()
