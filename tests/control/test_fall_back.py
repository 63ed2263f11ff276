"""A newest version that is broken when the server starts, against a gateway that is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel.messages.directory import Inventory, ServedModel
from serving.channel.messages.reports import UnreadyVersion
from serving.control import fall_back as module
from serving.control.fall_back import fall_back, may_fall_back
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.control.served_model import served_model
from serving.errors import LoadFailed
from serving.models.repository.folder import ModelRepository

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Start = Callable[[], tuple[ServedModel, asyncio.Task[None]]]


@pytest.fixture
def start(
    registry: Registry,
    control: ModelControl,
    folder: Path,
    put: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Start:
    """Serve the newest of three versions, as at a start; version 1 has no weights."""
    monkeypatch.setattr(module, "CERTAIN_S", 0.02)
    for version in ("2", "3"):
        put(version)
    (folder / "m" / "1" / "model.pt2").unlink()
    repository = ModelRepository(folder)

    def begin() -> tuple[ServedModel, asyncio.Task[None]]:
        served = served_model(repository.get("m"))
        generation = control.start(Inventory((served,)))
        settling = fall_back(registry, control, repository, served, generation)
        return served, asyncio.ensure_future(settling)

    return begin


def listed(control: ModelControl) -> dict[str, tuple[str, str]]:
    return {row.version: (row.state, row.reason) for row in control.index()}


async def test_an_earlier_version_serves_and_stays(
    start: Start,
    control: ModelControl,
    gateway: Any,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway.unready = [UnreadyVersion("m", "3", "no replica yet")]
    broken, settling = start()
    registry.note_failure(broken.key, "no weights")
    await settling
    assert [served.version for served in registry.directory.models] == ["2"]
    gateway.unready = []
    gateway.tell()
    there = {"2": ("READY", ""), "3": ("UNAVAILABLE", "no weights")}
    assert listed(control) == there
    assert "version 3 of model 'm' is refused" in caplog.text
    assert "version 2 of model 'm' serves in the place of version 3" in caplog.text
    gateway.verdict = ("UNAVAILABLE", "no weights")
    with pytest.raises(LoadFailed, match="what served before goes on"):
        await control.load("m")
    assert listed(control) == there


async def test_a_version_that_fails_its_example_counts_as_broken(
    start: Start, gateway: Any, registry: Registry
) -> None:
    gateway.unready = [UnreadyVersion("m", "3", "the example fails: oh")]
    broken, settling = start()
    gateway.disproved = [broken.key]
    gateway.tell()
    await settling
    assert [served.version for served in registry.directory.models] == ["2"]


async def test_a_version_that_answers_is_left_alone(
    start: Start, control: ModelControl, gateway: Any, registry: Registry, eventually: Wait
) -> None:
    gateway.unready = [UnreadyVersion("m", "3", "no replica yet")]
    served, settling = start()
    await eventually(lambda: gateway.directory.models)
    assert not settling.done()
    gateway.unready = []
    gateway.tell()
    await settling
    registry.note_failure(served.key, "it died much later")
    assert registry.directory.models == (served,)


async def test_without_any_that_works_the_newest_says_why(
    start: Start,
    control: ModelControl,
    gateway: Any,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway.unready = [UnreadyVersion("m", "3", "no replica yet")]
    gateway.verdict = ("UNAVAILABLE", "it is broken, too")
    broken, settling = start()
    registry.note_failure(broken.key, "no weights")
    await settling
    assert (registry.directory.models, registry.directory.candidates) == ((broken,), ())
    assert listed(control) == {
        "2": ("UNAVAILABLE", "it is broken, too"),
        "3": ("UNAVAILABLE", "no weights"),
    }
    assert "version 3 of model 'm' is refused" in caplog.text
    assert "version 2 of model 'm' is refused" in caplog.text
    assert "in the place of" not in caplog.text


async def test_who_unloads_it_meanwhile_is_obeyed(
    start: Start, control: ModelControl, gateway: Any, registry: Registry
) -> None:
    gateway.unready = [UnreadyVersion("m", "3", "no replica yet")]
    broken, settling = start()
    await control.unload("m")
    await settling
    assert registry.directory.models == ()
    await control.fall_back(broken, "no weights", [broken])
    assert registry.directory.models == ()


async def test_versions_that_are_named_have_no_stand_in(folder: Path, put: Any) -> None:
    put("1")
    put("2")
    assert may_fall_back(served_model(ModelRepository(folder).get("m")))
    put("2", versions="[1, 2]")
    assert not may_fall_back(served_model(ModelRepository(folder).get("m")))
