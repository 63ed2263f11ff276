"""What becomes of orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.control.commands import Commands
from serving.control.lifecycle import ModelControl
from serving.control.runtime_settings import RuntimeSettings
from serving.errors import ModelNotFound
from serving.protocol.repository import ControlMeta

INDEX = [{"name": "m", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}]


@pytest.fixture
def kept() -> list[str]:
    return []


@pytest.fixture
def commands(control: ModelControl, tmp_path: Path, kept: list[str]) -> Commands:
    async def keep() -> None:
        kept.append("kept")

    return Commands(control, RuntimeSettings(tmp_path, lambda _settings: None), keep)


async def test_the_index_is_told(commands: Commands) -> None:
    assert await commands.answer(ControlMeta("index")) == INDEX


async def test_settings_are_taken(commands: Commands) -> None:
    told = await commands.answer(ControlMeta("logging", settings={"log_verbose_level": 1}))
    assert told["log_verbose_level"] == 1


async def test_an_order_is_answered_once_it_would_outlive_the_process(
    commands: Commands, kept: list[str]
) -> None:
    await commands.answer(ControlMeta("index"))
    assert kept == []
    await commands.answer(ControlMeta("trace", settings={"trace_rate": "1"}))
    assert kept == ["kept"]
    with pytest.raises(ModelNotFound):
        await commands.answer(ControlMeta("load", "absent"))
    with pytest.raises(ModelNotFound):
        await commands.answer(ControlMeta("trace", "absent", settings={"trace_rate": "1"}))
    assert kept == ["kept"]
