"""Takes orders for the running instance; whoever may not give them is refused at the door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from serving.control.lifecycle import ModelControl
from serving.control.runtime_settings import RuntimeSettings
from serving.errors import unknown_model
from serving.protocol.repository import ControlMeta


async def at_once() -> None:
    """Nobody else has to know of an order."""


class Commands:
    """Answers control requests, from gateways and from the admin listener.

    Args:
        control: loads and unloads models.
        settings: keeps the settings.
        kept: returns once what was ordered so far outlives this process; answers wait for it.
    """

    def __init__(
        self,
        control: ModelControl,
        settings: RuntimeSettings,
        kept: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._control = control
        self._settings = settings
        self._kept = kept

    async def answer(self, asked: ControlMeta) -> Any:
        """Carry out one order; returns plain values.

        Raises:
            VigilError: it cannot be carried out.
        """
        if asked.operation == "index":
            return msgspec.to_builtins(self._control.index())
        answer = await self._obey(asked)
        await self._kept()
        return answer

    async def _obey(self, asked: ControlMeta) -> Any:
        if asked.operation == "logging":
            return self._settings.logging(asked.settings)
        if asked.operation == "trace":
            if asked.model and asked.model not in self._control.loaded:
                raise unknown_model(asked.model[:200])
            return self._settings.trace(asked.model, asked.settings)
        if asked.operation == "load":
            await self._control.load(
                asked.model, allow_signature_change=asked.allow_signature_change
            )
        else:
            await self._control.unload(asked.model)
        return {}
