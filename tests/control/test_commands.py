"""Who may give orders, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.config import Listen, ServerConfig
from serving.control.commands import Commands
from serving.control.lifecycle import ModelControl
from serving.control.runtime_settings import RuntimeSettings
from serving.errors import Forbidden, ModelNotFound
from serving.protocol.repository import ControlMeta

INDEX = [{"name": "m", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}]
ORDERS = [
    ControlMeta("load", "m"),
    ControlMeta("unload", "m"),
    ControlMeta("logging", settings={"log_verbose_level": 1}),
    ControlMeta("trace", settings={"trace_rate": "1"}),
]


@pytest.fixture
def kept() -> list[str]:
    return []


@pytest.fixture
def desk(control: ModelControl, tmp_path: Path, kept: list[str]) -> Callable[[str], Commands]:
    async def keep() -> None:
        kept.append("kept")

    def make(host: str) -> Commands:
        book = RuntimeSettings(tmp_path, lambda _settings: None)
        config = ServerConfig(listen=Listen(host=host), insecure=True)
        return Commands(control, book, config, keep)

    return make


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.operation)
async def test_where_others_can_connect_clients_give_no_orders(
    desk: Callable[[str], Commands], order: ControlMeta
) -> None:
    commands = desk("0.0.0.0")
    with pytest.raises(Forbidden, match="not on loopback; use the admin listener"):
        await commands.from_client(order)
    assert await commands.from_client(ControlMeta("index")) == INDEX


async def test_on_loopback_they_do(desk: Callable[[str], Commands]) -> None:
    told = await desk("127.0.0.1").from_client(ORDERS[2])
    assert told["log_verbose_level"] == 1


async def test_an_order_is_answered_once_it_would_outlive_the_process(
    desk: Callable[[str], Commands], kept: list[str]
) -> None:
    commands = desk("127.0.0.1")
    await commands.answer(ControlMeta("index"))
    assert kept == []
    await commands.answer(ORDERS[3])
    assert kept == ["kept"]
    with pytest.raises(ModelNotFound):
        await commands.answer(ControlMeta("load", "absent"))
    with pytest.raises(ModelNotFound):
        await commands.answer(ControlMeta("trace", "absent", settings={"trace_rate": "1"}))
    assert kept == ["kept"]
