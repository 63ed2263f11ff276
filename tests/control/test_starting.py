"""When an instance's start is over, against a gateway that is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel.messages.directory import Inventory, ServedModel
from serving.channel.messages.reports import UnreadyVersion
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.control.served_model import served_model
from serving.control.starting import Starting
from serving.models.repository.folder import ModelRepository

Wait = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def served(folder: Path, control: ModelControl) -> ServedModel:
    return served_model(ModelRepository(folder).get("m"))


def begin(
    registry: Registry, control: ModelControl, served: ServedModel, limit_s: float = 60
) -> Starting:
    generation = control.start(Inventory((served,)))
    return Starting(registry, control, (served,), generation, limit_s)


async def test_it_waits_until_the_model_answers(
    registry: Registry, control: ModelControl, gateway: Any, served: ServedModel, eventually: Wait
) -> None:
    gateway.unready = [UnreadyVersion("m", "1", "no replica yet")]
    starting = begin(registry, control, served)
    await eventually(lambda: gateway.directory.models)
    await eventually(lambda: registry.gateway_statuses() and registry.gateway_statuses()[0].unready)
    assert not starting.over()
    gateway.unready = []
    gateway.tell()
    await eventually(starting.over)


async def test_it_waits_for_gateways_first(
    registry: Registry, control: ModelControl, served: ServedModel
) -> None:
    starting = begin(registry, control, served)
    registry.note_failure(served.key, "no weights")
    assert not starting.over()


async def test_a_model_that_failed_once_is_not_waited_for(
    registry: Registry, control: ModelControl, gateway: Any, served: ServedModel, eventually: Wait
) -> None:
    gateway.unready = [UnreadyVersion("m", "1", "no replica yet")]
    gateway.slow = True
    starting = begin(registry, control, served)
    registry.note_failure(served.key, "no weights")
    assert not starting.over()
    registry.failures.forget(served.key)  # its replica is started again
    gateway.slow = False
    await eventually(lambda: gateway.directory.models)
    gateway.tell()
    await eventually(starting.over)


async def test_a_model_that_never_settles_is_waited_for_within_bounds(
    registry: Registry, control: ModelControl, gateway: Any, served: ServedModel, eventually: Wait
) -> None:
    gateway.unready = [UnreadyVersion("m", "1", "no replica yet")]
    starting = begin(registry, control, served, limit_s=0.1)
    assert not starting.over()
    await eventually(starting.over)
