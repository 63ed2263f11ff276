"""Hands an order to forget a subject to all monitors; adds up what they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec

from serving.channel.messages.observation import FORGET, ForgetMeta, ForgetReply
from serving.channel.monitor_shares import called, monitor_ids
from serving.control.monitor_orders import ask_monitor
from serving.control.registry import Registry
from serving.errors import InvalidInput, NotFound, VigilError

_decode = msgspec.msgpack.Decoder(ForgetReply).decode


async def forget(registry: Registry, asked: ForgetMeta) -> ForgetReply:
    """Begin an order, or go on with it; returns how far it is. Whoever waits for it asks again.

    Raises:
        ModelNotReady: a monitor is not there, or does not answer.
        InvalidInput: no file of the log has such a column.
        NotFound: the log has no predictions of the model.
        VigilError: what a monitor answered.
    """
    monitors = registry.directory.monitors
    # Also of one model: others than its monitor may have state of when they were more or fewer.
    # Each is asked in any case: one that is away keeps none from beginning.
    replies = await asyncio.gather(
        *(_ask(registry, ident, asked) for ident in monitor_ids(monitors)), return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return _added([reply for reply in replies if isinstance(reply, ForgetReply)], asked)


async def _ask(registry: Registry, ident: str, asked: ForgetMeta) -> ForgetReply:
    try:
        return _decode((await ask_monitor(registry, ident, FORGET, asked)).meta)
    except VigilError as error:
        name = called(ident)
        if registry.directory.monitors == 1 or error.message.startswith(name):
            raise
        said = f"{name}: {error.message}"
        raise type(error)(said, retry_after_s=error.retry_after_s) from None


def _added(replies: Sequence[ForgetReply], asked: ForgetMeta) -> ForgetReply:
    running = [each for each in replies if not each.finished]
    if running:
        what = running[0].what
        alike = [each for each in running if each.what == what]
        done, of = sum(each.done for each in alike), sum(each.of for each in alike)
        return ForgetReply(finished=False, what=what, done=done, of=of)
    logged = [each for each in replies if each.logged]
    if logged and not any(each.known for each in logged):
        raise InvalidInput(f"by: no file of the log has a column '{asked.by[:80]}'")
    if asked.model and not logged:
        raise NotFound(f"the log has no predictions of model '{asked.model[:200]}'")
    rows: Counter[str] = Counter()
    for each in replies:
        rows.update(each.rows)
    return ForgetReply(
        finished=True,
        rows=dict(rows),
        rewritten=[path for each in replies for path in each.rewritten],
        deleted=[path for each in replies for path in each.deleted],
        entries=sum(each.entries for each in replies),
        searched=sum(each.searched for each in replies),
        logged=bool(logged),
    )
