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
def desk(control: ModelControl, tmp_path: Path, kept: list[str]) -> Commands:
    async def keep() -> None:
        kept.append("kept")

    return Commands(control, RuntimeSettings(tmp_path, lambda _settings: None), keep)


async def test_the_index_is_told(desk: Commands) -> None:
    assert await desk.answer(ControlMeta("index")) == INDEX


async def test_settings_are_taken(desk: Commands) -> None:
    told = await desk.answer(ControlMeta("logging", settings={"log_verbose_level": 1}))
    assert told["log_verbose_level"] == 1


async def test_an_order_is_answered_once_it_would_outlive_the_process(
    desk: Commands, kept: list[str]
) -> None:
    await desk.answer(ControlMeta("index"))
    assert kept == []
    await desk.answer(ControlMeta("trace", settings={"trace_rate": "1"}))
    assert kept == ["kept"]
    with pytest.raises(ModelNotFound):
        await desk.answer(ControlMeta("load", "absent"))
    with pytest.raises(ModelNotFound):
        await desk.answer(ControlMeta("trace", "absent", settings={"trace_rate": "1"}))
    assert kept == ["kept"]
