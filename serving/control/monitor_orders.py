"""What an operator tells a monitor through the admin listener."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from serving.channel.connection import ChannelClosed
from serving.channel.endpoint import connect
from serving.channel.frame_parts import Message
from serving.channel.messages.causes import CAUSE, CAUSE_TIMEOUT_S, Cause, CauseMeta
from serving.channel.messages.observation import RESET_REFERENCE, ResetMeta
from serving.channel.monitor_shares import called, monitor_of
from serving.control.registry import Registry
from serving.errors import ModelNotReady

TIMEOUT_S: Final = 10.0

_decode_cause = msgspec.msgpack.Decoder(Cause).decode


async def reset_reference(registry: Registry, model: str) -> str:
    """Begin a new live reference of a model's drift; returns its state in a few words.

    Raises:
        ModelNotReady: the model's monitor is not there, or does not answer.
        VigilError: what the monitor answered.
    """
    ident = monitor_of(model, registry.directory.monitors)
    reply = await ask_monitor(registry, ident, RESET_REFERENCE, ResetMeta(model))
    return msgspec.msgpack.decode(reply.meta, type=str)


async def cause(registry: Registry, asked: CauseMeta) -> Cause:
    """Return what the rows of a model tell of a breach; it may take minutes.

    Raises:
        ModelNotReady: the model's monitor is not there, or does not answer.
        VigilError: what the monitor answered.
    """
    ident = monitor_of(asked.model, registry.directory.monitors)
    reply = await ask_monitor(registry, ident, CAUSE, asked, CAUSE_TIMEOUT_S + TIMEOUT_S)
    return _decode_cause(reply.meta)


async def ask_monitor(
    registry: Registry, ident: str, kind: str, meta: object, timeout_s: float = TIMEOUT_S
) -> Message:
    """Return what a monitor answers.

    Raises:
        ModelNotReady: it is not there, or does not answer.
        VigilError: what the monitor answered.
    """
    members = [state.member for state in registry.states()]
    addresses = [each.address for each in members if (each.role, each.id) == ("monitor", ident)]
    gone = ModelNotReady(f"{called(ident)} is not there; retry later", retry_after_s=1)
    if not addresses:
        raise gone
    try:
        async with asyncio.timeout(timeout_s):
            connection = await connect(addresses[0], registry.secret)
            try:
                return await connection.request(kind, meta)
            finally:
                connection.close()
    except (ChannelClosed, TimeoutError):
        raise gone from None
