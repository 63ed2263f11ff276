"""What an operator tells the monitor through the admin listener."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from serving.channel.connection import ChannelClosed
from serving.channel.endpoint import connect
from serving.channel.messages.observation import RESET_REFERENCE, ResetMeta
from serving.control.registry import Registry
from serving.errors import ModelNotReady

TIMEOUT_S: Final = 10.0


async def reset_reference(registry: Registry, model: str) -> str:
    """Begin a new live reference of a model's drift; returns its state in a few words.

    Raises:
        ModelNotReady: no monitor is there, or it does not answer.
        VigilError: what the monitor answered.
    """
    addresses = [
        state.member.address for state in registry.states() if state.member.role == "monitor"
    ]
    gone = ModelNotReady("the monitor is not there; retry later", retry_after_s=1)
    if not addresses:
        raise gone
    try:
        async with asyncio.timeout(TIMEOUT_S):
            connection = await connect(addresses[0], registry.secret)
            try:
                reply = await connection.request(RESET_REFERENCE, ResetMeta(model))
            finally:
                connection.close()
    except (ChannelClosed, TimeoutError):
        raise gone from None
    return msgspec.msgpack.decode(reply.meta, type=str)
