"""What roles ask the control plane for, and what they are answered when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from serving.channel.endpoint import connect
from serving.channel.messages.control import CONTROL
from serving.control.registry import Registry
from serving.errors import ModelFailed, ModelNotFound, Unsupported
from serving.protocol.repository import ControlMeta

Wait = Callable[[Callable[[], object]], Awaitable[None]]
PERSONAL = "Anna 4711"


async def test_an_order_that_takes_long_holds_up_no_other(registry: Registry, address: str) -> None:
    slow = asyncio.Event()

    async def carry_out(asked: ControlMeta) -> object:
        if asked.model == "slow":
            await slow.wait()
        return {"done": asked.model}

    registry.requests.on_control = carry_out
    connection = await connect(address)
    waiting = connection.request(CONTROL, ControlMeta("load", "slow"))
    quick = await connection.request(CONTROL, ControlMeta("load", "quick"))
    assert msgspec.msgpack.decode(quick.meta) == {"done": "quick"}
    assert not waiting.done()
    slow.set()
    assert msgspec.msgpack.decode((await waiting).meta) == {"done": "slow"}
    connection.close()


async def test_why_an_order_fails_is_told_and_what_nobody_foresaw_is_not(
    registry: Registry, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def carry_out(asked: ControlMeta) -> object:
        raise ModelNotFound("no such model") if asked.model else RuntimeError(PERSONAL)

    registry.requests.on_control = carry_out
    connection = await connect(address)
    with pytest.raises(ModelNotFound, match="no such model"):
        await connection.request(CONTROL, ControlMeta("load", "m"))
    assert not caplog.messages
    with pytest.raises(ModelFailed, match="internal error; see the server's log"):
        await connection.request(CONTROL, ControlMeta("load"))
    with pytest.raises(ModelFailed, match="internal error"):
        await connection.request(CONTROL, {"operation": "conquer"})
    assert caplog.messages == ["the control plane failed to answer 'control'"] * 2
    assert PERSONAL not in caplog.text
    assert not connection.closed
    connection.close()


async def test_what_it_does_not_know_is_refused(registry: Registry, address: str) -> None:
    connection = await connect(address)
    for kind in (CONTROL, "conquer" * 100):  # nobody takes orders here
        with pytest.raises(Unsupported, match=f"does not answer '{kind[:40]}'"):
            await connection.request(kind, ControlMeta("index"))
    connection.close()


async def test_a_hub_that_stops_answers_nothing_any_more(
    registry: Registry, address: str, eventually: Wait
) -> None:
    ended: list[str] = []

    async def carry_out(asked: ControlMeta) -> object:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asked.model)
        return None

    registry.requests.on_control = carry_out
    connection = await connect(address)
    waiting = connection.request(CONTROL, ControlMeta("load", "m"))
    await eventually(lambda: registry.requests._tasks)
    await asyncio.sleep(0)
    registry.stop()
    await eventually(lambda: ended == ["m"])
    await eventually(waiting.done)
    assert waiting.exception() is not None
